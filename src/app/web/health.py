"""What supervisors and load balancers ask: is the process alive, and can it serve?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from quart import Quart, current_app
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.database import DatabaseUnavailable, reading
from app.migrations import HEAD_REVISION
from app.web.security import is_local_client
from app.web.templating import Blueprint

Figures = Callable[[], Awaitable[Any]]

blueprint = Blueprint("health", __name__)


def init_app(app: Quart) -> None:
    """Serve `/healthz` and `/readyz`; readiness wants the schema of this version's migrations."""
    app.extensions["readiness_figures"] = {}
    app.register_blueprint(blueprint)


def tell(app: Quart, name: str, figures: Figures) -> None:
    """Let `/readyz` show what `figures` returns as `name`, to this machine only."""
    app.extensions["readiness_figures"][name] = figures


@blueprint.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@blueprint.get("/readyz")
async def readyz() -> tuple[dict[str, Any], int]:
    """Say whether the database answers and its schema is this version's, and tell this machine more."""
    try:
        if not await is_migrated():
            return {"status": "unavailable", "reason": "run `microblog db upgrade`"}, 503
        return {"status": "ok", **(await _figures() if is_local_client() else {})}, 200
    except DatabaseUnavailable:
        return {"status": "unavailable", "reason": "the database does not answer"}, 503


async def is_migrated() -> bool:
    """Return whether the tables are at this version's revision; raises DatabaseUnavailable."""
    return await _revision() == HEAD_REVISION


async def _revision() -> str | None:
    try:
        async with reading() as connection:
            revision: str | None = await connection.scalar(
                text("SELECT version_num FROM alembic_version")
            )
            return revision
    except DBAPIError:
        return None


async def _figures() -> dict[str, Any]:
    told: dict[str, Figures] = current_app.extensions["readiness_figures"]
    return {name: await figures() for name, figures in told.items()}
