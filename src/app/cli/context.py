"""Run an async command of the `microblog` program inside the app's context."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import click
from quart import Quart
from sqlalchemy.exc import DBAPIError

from app.database import NOT_MIGRATED, DatabaseUnavailable, is_schema_outdated

P = ParamSpec("P")
AppFactory = Callable[[], Quart]
Command = Callable[Concatenate[Quart, P], Coroutine[Any, Any, None]]

DRIVER_SECONDS = 0.1  # to wait for aiosqlite's thread to end after a failed connection


def inside_app(command: Command[P]) -> Callable[P, None]:
    """Turn `async def command(app, ...)` into a function for click that runs it in the app's context.

    The app does not serve meanwhile. Its factory is the group's `obj`, so that a feature's commands
    need not import it.
    """

    @click.pass_obj
    @wraps(command)
    def run(create_app: AppFactory, /, *args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(_run(create_app(), command, *args, **kwargs))

    return run


async def _run(app: Quart, command: Command[P], *args: P.args, **kwargs: P.kwargs) -> None:
    try:
        async with app.app_context():
            await command(app, *args, **kwargs)
    except DatabaseUnavailable:
        await asyncio.sleep(DRIVER_SECONDS)
        raise
    except DBAPIError as error:
        if not is_schema_outdated(error):
            raise
        raise DatabaseUnavailable(NOT_MIGRATED) from error
    finally:
        await close_connections(app)


async def close_connections(app: Quart) -> None:
    """Close the connections, and end the password processes, of an app that was used without serving it."""
    await app.extensions["passwords"].close()
    await app.extensions["mail_pool"].close()
    await app.extensions["database"].dispose()
