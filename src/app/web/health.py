"""What supervisors and load balancers ask: is the process alive, and can it serve?"""

from __future__ import annotations

from quart import Quart, current_app
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.database import DatabaseUnavailable, reading
from app.migrations import run as migrations
from app.web.blueprint import Blueprint

blueprint = Blueprint("health", __name__)


def init_app(app: Quart) -> None:
    """Serve `/healthz` and `/readyz`; readiness wants the schema of this version's migrations."""
    app.extensions["schema_revision"] = migrations.head()
    app.register_blueprint(blueprint)


@blueprint.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@blueprint.get("/readyz")
async def readyz() -> tuple[dict[str, str], int]:
    """Say whether the database answers and its schema is this version's."""
    try:
        async with reading() as connection:
            revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    except DatabaseUnavailable:
        return {"status": "unavailable", "reason": "the database does not answer"}, 503
    except DBAPIError:
        revision = None
    if revision != current_app.extensions["schema_revision"]:
        return {"status": "unavailable", "reason": "run `microblog db upgrade`"}, 503
    return {"status": "ok"}, 200
