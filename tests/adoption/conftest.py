"""An adopted old site; modules override `database_url` with its location."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from quart import Quart

from app import create_app
from app.migrations import run as migrations
from tests.conftest import use_fresh_contexts
from tests.inspection import database_of

_migrated: dict[bytes, bytes] = {}
"""What `microblog db upgrade` has made of the old files in this test process, which takes half a second each."""


@pytest.fixture
async def adopted(config: dict[str, Any]) -> AsyncIterator[Quart]:
    """The site on the old file, after `microblog db upgrade`."""
    site = create_app(config)
    use_fresh_contexts(site)
    path = Path(database_of(site).url.database or "")
    old = path.read_bytes()
    if old in _migrated:
        path.write_bytes(_migrated[old])
    else:
        await migrations.upgrade(database_of(site))
        _migrated[old] = path.read_bytes()
    async with site.app_context():
        yield site
    await database_of(site).dispose()
