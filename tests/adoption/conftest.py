"""An adopted old site; modules override `database_url` with its location."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from quart import Quart

from app import create_app
from app.migrations import run as migrations
from tests.conftest import use_fresh_contexts
from tests.inspection import database_of


@pytest.fixture
async def adopted(config: dict[str, Any]) -> AsyncIterator[Quart]:
    """The site on the old file, after `microblog db upgrade`."""
    site = create_app(config)
    use_fresh_contexts(site)
    await migrations.upgrade(database_of(site))
    async with site.app_context():
        yield site
    await database_of(site).dispose()
