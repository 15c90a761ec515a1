"""Statements that run often: each is compiled once, and what it reads comes as plain tuples.

On SQLite the rows of a SELECT come packed, as the JSON of one: sqlite3 lets go of Python's lock at every row,
and its thread then waits until the busy event loop lets go in turn. For a page of 26 rows that is 27 waits, a
third of all the time a loaded site has (benchmarks/pages.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect, Select, UpdateBase
from sqlalchemy.types import TypeEngine

Statement = Select[*tuple[Any, ...]] | UpdateBase
Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """A statement as one kind of database takes it: its text, and how values go there and come back."""

    sql: str
    is_packed: bool
    names: Sequence[str]
    constants: Mapping[str, Any]
    binders: Mapping[str, Convert]
    converters: Sequence[tuple[int, Convert]]

    @classmethod
    def of(cls, statement: Statement, dialect: Dialect) -> Plan:
        """Compile `statement`; its parameters are named, and taken by position."""
        compiled = statement.compile(dialect=dialect)
        binders = {
            name: _implementation(bind.type, dialect).bind_processor(dialect)
            for bind, name in compiled.bind_names.items()
        }
        results = [
            _implementation(column.type, dialect).result_processor(dialect, None)
            for column in statement.exported_columns
        ]
        is_packed = dialect.name == "sqlite" and isinstance(statement, Select)
        return cls(
            sql=_packed(str(compiled), len(results)) if is_packed else str(compiled),
            is_packed=is_packed,
            names=compiled.positiontup or (),
            constants={
                name: bind.value for bind, name in compiled.bind_names.items() if not bind.required
            },
            binders={name: binder for name, binder in binders.items() if binder},
            converters=[(place, result) for place, result in enumerate(results) if result],
        )

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return what the driver takes for `parameters`."""
        values = {**self.constants, **parameters}
        for name, binder in self.binders.items():
            values[name] = binder(values[name])
        return [values[name] for name in self.names]

    def rows(self, found: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Return what the driver `found`, as Python's types."""
        rows = []
        for each in json.loads(found[0][0]) if self.is_packed else found:
            row = list(each)
            for place, convert in self.converters:
                row[place] = convert(row[place])
            rows.append(tuple(row))
        return rows


class Query:
    """A statement, its variable parts `bindparam`s; make it once, at import. A change has rows by RETURNING.

    `postgresql`: the statement to run there instead, where one wording is not fast on both.
    """

    def __init__(self, statement: Statement, postgresql: Statement | None = None) -> None:
        self.statements = {"postgresql": statement if postgresql is None else postgresql}
        self.default = statement
        self.plans: dict[str, Plan] = {}

    def on(self, dialect: Dialect) -> Plan:
        """Return how to run it on a kind of database."""
        plan = self.plans.get(dialect.name)
        if plan is None:
            statement = self.statements.get(dialect.name, self.default)
            plan = self.plans[dialect.name] = Plan.of(statement, dialect)
        return plan


def _packed(sql: str, width: int) -> str:
    """Return a SELECT of one value: a JSON array of the rows of `sql`, each an array of `width` values."""
    columns = ", ".join(f"c{place}" for place in range(width))
    return (
        f"WITH row({columns}) AS MATERIALIZED ({sql}) "  # noqa: S608 -- compiled, its values are bound
        f"SELECT json_group_array(json_array({columns})) FROM row"
    )


def _implementation(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return kind.dialect_impl(dialect)
