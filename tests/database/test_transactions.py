"""Transactions over the driver: all or nothing, let finish, and run anew over SQLAlchemy when it fails."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import pytest
from quart import Quart
from sqlalchemy import Integer, String, bindparam, select, text, update
from sqlalchemy.exc import DBAPIError

from app.accounts.models import User
from app.database import DatabaseUnavailable, Query, Transaction, writing
from app.database.places import PLACES, placed
from app.database.transactions import DriverTransaction, SqlalchemyTransaction
from tests.factories import make_user
from tests.inspection import database_of

TELL = Query(
    update(User)
    .where(User.id == bindparam("id_", type_=Integer))
    .values(about_me=bindparam("about", type_=String))
    .returning(User.username, User.last_seen)
)
ASK = Query(select(User.about_me).where(User.id == bindparam("id_", type_=Integer)))
WRONG = Query(update(User).values(about_me=text("no_such_function()")).returning(User.id))


async def about(app: Quart, person: int) -> str | None:
    [(found,)] = await database_of(app).change(lambda block: block.run(ASK, {"id_": person}))
    assert found is None or isinstance(found, str)
    return found


async def test_rows_are_tuples_of_pythons_types_either_way(app: Quart) -> None:
    person = await make_user("susan")
    values = {"id_": person, "about": "Hello"}

    async def block(transaction: Transaction) -> list[tuple[object, ...]]:
        return await transaction.run(TELL, values)

    over_driver = await database_of(app).change(block)
    assert await about(app, person) == "Hello"
    async with writing() as session:
        over_sqlalchemy = await block(SqlalchemyTransaction(await session.connection()))
    assert over_driver == over_sqlalchemy
    assert over_driver[0][0] == "susan"


async def test_all_or_nothing(app: Quart) -> None:
    person = await make_user("susan")
    runs: list[type] = []

    async def block(transaction: Transaction) -> None:
        runs.append(type(transaction))
        await transaction.run(TELL, {"id_": person, "about": "Hello"})
        await transaction.run(WRONG, {})

    with pytest.raises(DBAPIError):
        await database_of(app).change(block)
    assert runs == [DriverTransaction, SqlalchemyTransaction]
    assert await about(app, person) is None


async def test_who_is_cancelled_leaves_it_done(app: Quart) -> None:
    person = await make_user("susan")
    begun = asyncio.Event()

    async def block(transaction: Transaction) -> None:
        begun.set()
        await transaction.run(TELL, {"id_": person, "about": "Hello"})

    task = asyncio.create_task(database_of(app).change(block))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await about(app, person) == "Hello"


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_a_connection_that_the_server_closed_is_replaced(app: Quart) -> None:
    person = await make_user("susan")
    runs: list[type] = []
    kill = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    async def block(transaction: Transaction) -> None:
        runs.append(type(transaction))
        if len(runs) == 1:
            async with database_of(app).reader.connect() as other:
                await other.execute(kill)
        await transaction.run(TELL, {"id_": person, "about": "Hello"})

    await database_of(app).change(block)
    assert runs == [DriverTransaction, SqlalchemyTransaction]
    assert await about(app, person) == "Hello"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_locked_file_is_waited_for_and_then_unavailable(app: Quart) -> None:
    person = await make_user("susan")
    database = database_of(app)
    path = database.url.database
    assert path is not None
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(
            database.change(lambda block: block.run(TELL, {"id_": person, "about": "Hello"}))
        )
        with pytest.raises(TimeoutError):  # longer than the driver waits alone
            await asyncio.wait_for(asyncio.shield(waiting), 0.5)
        other.execute("ROLLBACK")
        await waiting
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable):
            await about(app, person)
    assert await about(app, person) == "Hello"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_value_that_is_forgotten_or_too_many_is_no_null(app: Quart) -> None:
    with pytest.raises(TypeError, match="about"):
        await database_of(app).change(lambda block: block.run(TELL, {"id_": 1}))
    with pytest.raises(ValueError, match=f"id: 9 values for {PLACES} places"):
        placed("id", range(9))
