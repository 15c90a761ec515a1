"""Running an async command of the `microblog` program inside the site."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import click
from quart import Quart
from sqlalchemy.exc import DBAPIError

from app.database import NOT_MIGRATED, DatabaseUnavailable, is_schema_outdated

P = ParamSpec("P")
DRIVER_SECONDS = 0.1
"""aiosqlite's thread reports its own end to the loop after a connection that failed."""
Factory = Callable[[], Quart]


def inside_app(
    command: Callable[Concatenate[Quart, P], Coroutine[Any, Any, None]],
) -> Callable[P, None]:
    """Make `async def command(app, ...)` a function for click, run in the app's context, not serving.

    The group's `obj` is the app's factory, so that features' commands need not import it.
    """

    @click.pass_obj
    @wraps(command)
    def run(create_app: Factory, /, *args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(_run(create_app(), command, *args, **kwargs))

    return run


async def _run(
    app: Quart,
    command: Callable[Concatenate[Quart, P], Coroutine[Any, Any, None]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> None:
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
        await take_down(app)


async def take_down(app: Quart) -> None:
    """Close the connections of a program that did not serve."""
    await app.extensions["mail_pool"].close()
    await app.extensions["database"].dispose()
