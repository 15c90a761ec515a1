"""The parts of a site by their types: what `app.extensions` holds under their names."""

from __future__ import annotations

from quart import Quart
from sqlalchemy import QueuePool
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import Database
from app.outbox.courier import Courier
from app.outbox.state import Outbox


def database_of(app: Quart) -> Database:
    found: Database = app.extensions["database"]
    return found


def connections_in_use(engine: AsyncEngine) -> int:
    assert isinstance(engine.pool, QueuePool)
    return engine.pool.checkedout()


def outbox_of(app: Quart) -> Outbox:
    found: Outbox = app.extensions["outbox"]
    return found


def courier_of(app: Quart) -> Courier:
    found: Courier = app.extensions["outbox_courier"]
    return found
