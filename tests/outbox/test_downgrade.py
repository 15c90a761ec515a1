"""Downgrading below the outbox is refused while mail is waiting."""

from __future__ import annotations

import pytest
from alembic.util import CommandError
from quart import Quart

from app import outbox
from app.migrations import run as migrations
from tests.inspection import database_of
from tests.outbox.site import post, rows
from tests.smtp_server import SmtpServer

BEFORE_THE_OUTBOX = "ae346256b650"


async def test_waiting_mail_is_not_thrown_away(app: Quart, server: SmtpServer) -> None:
    database = database_of(app)
    await post()
    with pytest.raises(CommandError, match="1 mail is waiting in the outbox"):
        await migrations.downgrade(database, BEFORE_THE_OUTBOX)
    await migrations.upgrade(database)
    assert await rows("state") == ["queued"]
    await outbox.drain()
    assert (await migrations.downgrade(database, BEFORE_THE_OUTBOX))[1] == (BEFORE_THE_OUTBOX,)
