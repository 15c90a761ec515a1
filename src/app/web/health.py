"""`/healthz` and `/readyz`, for supervisors and load balancers."""

import asyncio
import math
import time
from typing import Any

from quart import Quart, current_app
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.database import DatabaseUnavailable, reading
from app.migrations import HEAD_REVISION
from app.web.templating import Blueprint

CACHE_SECONDS = 1.0

blueprint = Blueprint("health", __name__)


def init_app(app: Quart) -> None:
    """Serve `/healthz` and `/readyz`."""
    app.extensions["readiness"] = Readiness()
    app.register_blueprint(blueprint)


class Readiness:
    """Checks the database and its schema at most once in CACHE_SECONDS.

    `/readyz` is exempt from load shedding and rate limits, so it must cost next to nothing.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._problem: str | None = None
        self._checked_at = -math.inf

    async def problem(self) -> str | None:
        """Return why the site cannot serve, or None if it can."""
        async with self._lock:
            if time.monotonic() - self._checked_at >= CACHE_SECONDS:
                self._problem = await _problem()
                self._checked_at = time.monotonic()
            return self._problem


@blueprint.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer 200 while the process is alive."""
    return {"status": "ok"}


@blueprint.get("/readyz")
async def readyz() -> tuple[dict[str, Any], int]:
    """Answer 200 if the database answers and its schema is this version's, otherwise 503."""
    problem = await current_app.extensions["readiness"].problem()
    if problem is not None:
        return {"status": "unavailable", "reason": problem}, 503
    return {"status": "ok"}, 200


async def is_migrated() -> bool:
    """Return whether the schema is at this version's revision; raises DatabaseUnavailable."""
    try:
        async with reading() as connection:
            revisions = await connection.scalars(text("SELECT version_num FROM alembic_version"))
    except DBAPIError:
        return False
    return list(revisions) == [HEAD_REVISION]  # two while an upgrade has stopped halfway


async def _problem() -> str | None:
    try:
        return None if await is_migrated() else "run `microblog db upgrade`"
    except DatabaseUnavailable:
        return "the database does not answer"
