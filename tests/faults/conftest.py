"""A logged-in visitor for the tests of faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from quart import Quart

from tests.clients import Visitor
from tests.factories import make_user
from tests.web.test_fuzz import watched


@pytest.fixture
async def susan(app: Quart) -> AsyncIterator[Visitor]:
    """Susan's browser, logged in; the test fails if an error is unhandled."""
    async with watched(app) as errors:
        await make_user("susan")
        visitor = Visitor(app)
        async with asyncio.timeout(60):
            while (page := await visitor.log_in("susan")).status == 503:
                pass  # PostgreSQL has just been restarted, and the machine is slow
        assert page.location == "/index"
        yield visitor
    assert not errors
