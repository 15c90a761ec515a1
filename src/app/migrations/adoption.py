"""Databases of Microblog: recognize them, repair their text, and list unusual accounts.

Accounts that today's rules would refuse keep working; `db upgrade` and `db check` list them.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from alembic.util import CommandError
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    func,
    inspect,
    literal_column,
    select,
    table,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import User
from app.accounts.names import canonical
from app.migrations.lineage import COLUMNS, JOIN, Columns, Lineage
from app.quart_mail import BadAddressError
from app.quart_mail.address import mailbox

TEXT_TABLES = frozenset({"user", "post", "message", "notification", "task"})
NOUNS = {
    "user": ("account", "accounts"),
    "post": ("post", "posts"),
    "followers": ("follow", "follows"),
    "message": ("message", "messages"),
    "notification": ("notification", "notifications"),
    "task": ("task", "tasks"),
}
ACCEPTED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
READABLE_HASH = re.compile(r"(scrypt|pbkdf2)(:[\w.]+)*\$[^$]+\$[0-9a-f]+")
WHITE_SPACE = re.compile(r"\s")
UNKNOWN_ADDRESS = "@unknown.invalid"

Account = Row[*tuple[Any, ...]]


class NotMicroblog(Exception):
    """The database is not a Microblog's, or of a version this one does not know. It was not changed."""


def recognize(connection: Connection, lineage: Lineage) -> None:
    """Raise NotMicroblog unless the database is empty or a Microblog at revisions of `lineage`."""
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return
    if "alembic_version" not in tables:
        raise NotMicroblog(
            f"it has tables ({', '.join(sorted(tables)[:3])}) but no alembic_version of Flask-Migrate"
        )
    versions = sorted(connection.scalars(text("SELECT version_num FROM alembic_version")))
    if any(version not in lineage for version in versions):
        raise NotMicroblog(f"it is at revision {', '.join(versions)}, which this version does not know")
    if any(one in lineage.applied(other) for one in versions for other in versions if one != other):
        raise NotMicroblog(f"it is at revisions {' and '.join(versions)}, one of which includes the other")
    if not versions and len(tables) > 1:
        raise NotMicroblog("its table alembic_version is empty, but it has other tables")
    applied = lineage.applied(*versions)
    if JOIN not in applied:
        _require_columns(
            connection, tables, [COLUMNS[revision] for revision in COLUMNS if revision in applied]
        )


def _require_columns(connection: Connection, tables: set[str], added: list[Columns]) -> None:
    """Raise NotMicroblog unless the database has all the tables and columns that revisions have `added`."""
    if missing := sorted({name for each in added for name in each} - tables):
        raise NotMicroblog(f"it has no table {', '.join(missing)}")
    for name, columns in (item for each in added for item in each.items()):
        existing = {column["name"] for column in inspect(connection).get_columns(name)}
        if lacking := [column for column in columns if column not in existing]:
            raise NotMicroblog(f"its table {name} has no column {', '.join(lacking)}")


def refuse_loss(connection: Connection, revisions: set[str]) -> None:
    """Raise CommandError if there are rows in a table that a downgrade below `revisions` drops."""
    losses = []
    for name, revision in _origins().items():
        if revision in revisions:
            number = connection.scalar(select(func.count()).select_from(table(name)))
            if number:
                losses.append(f"{number:,} {NOUNS[name][number > 1]}")
    connection.rollback()
    if losses:
        raise CommandError(
            f"This would delete {' and '.join(losses)}, for which earlier revisions have no table; "
            "nothing was changed. Add --drop-newer if that is what you want."
        )


def _origins() -> dict[str, str]:
    """Return the revision that creates each table."""
    return {name: revision for revision in reversed(COLUMNS) for name in COLUMNS[revision]}


def store_blobs_as_text(connection: Connection) -> None:
    """Convert BLOBs in the text columns of an SQLite file, which other programs may have written.

    Bytes that are not UTF-8 become replacement characters. If the text is taken in a unique column, the
    value gets an ending that makes it unique and, in an address, unreachable (RFC 2606).
    """
    existing = TEXT_TABLES & set(inspect(connection).get_table_names())
    for name in sorted(existing):
        reflected = Table(name, MetaData(), autoload_with=connection)
        for column in reflected.columns:
            if isinstance(column.type, String):
                _convert_blobs(connection, reflected, column)
    connection.commit()


def _convert_blobs(connection: Connection, table: Table, column: Column[Any]) -> None:
    is_blob, rowid = func.typeof(column) == "blob", literal_column("rowid", Integer)
    for id_, value in connection.execute(select(rowid, column).where(is_blob)).all():
        converted = value.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
        change = update(table).where(rowid == id_)
        try:
            with connection.begin_nested():
                connection.execute(change.values({column: converted}))
        except IntegrityError:
            connection.execute(change.values({column: f"{converted}-{id_}.invalid"}))


async def findings(connection: AsyncConnection) -> list[str]:
    """Return a line for each unusual account: what is unusual, and what to do about it."""
    rows = (await connection.execute(select(User.__table__).order_by(User.id))).all()
    names = {row.username_canonical: row for row in rows}
    addresses = {row.email_canonical: row for row in rows}
    return [
        f"Account {row.id} ({row.username!r}): {line}"
        for row in rows
        for line in _about(row, names, addresses)
    ]


def _about(
    row: Account, names: Mapping[str | None, Account], addresses: Mapping[str | None, Account]
) -> Iterator[str]:
    if row.username_canonical is None:
        twin = names.get(canonical(row.username))
        yield (
            f"its name differs from that of {twin.username!r} (account {twin.id}) only by case; "
            if twin
            else "its name has no canonical form; "
        ) + "it logs in with the name exactly as written. The owner can change it at /edit_profile."
    if row.email_canonical is None:
        twin = addresses.get(canonical(row.email))
        yield (
            f"its address differs from that of account {twin.id} only by case; " if twin else ""
        ) + "a password reset needs the address exactly as written."
    if row.email.endswith(UNKNOWN_ADDRESS):
        yield "it has no email address, so no mail reaches it; store one in the column email."
    elif not _is_reachable(row.email):
        yield (
            f"no reset link can be sent to its address ({row.email!r}); "
            "the owner can change it at /change_email."
        )
    if not ACCEPTED_NAME.fullmatch(row.username):
        yield "its name would not be accepted today, but works; the owner can change it at /edit_profile."
    if not READABLE_HASH.fullmatch(row.password_hash or ""):
        yield "it has no usable password; the owner can set one at /reset_password_request."


def _is_reachable(address: str) -> bool:
    """Return whether a reset link can be requested for `address` and sent there."""
    try:
        return "@" in mailbox(address).spec and not WHITE_SPACE.search(address)
    except BadAddressError:
        return False
