"""A logged-in visitor for the tests of faults."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from quart import Quart

from tests.clients import Visitor
from tests.factories import logged_in
from tests.web.test_fuzz import watched


@pytest.fixture
async def susan(app: Quart) -> AsyncIterator[Visitor]:
    """Susan's browser, logged in; the test fails if an error is unhandled."""
    async with watched(app) as errors:
        yield (await logged_in(app, "susan"))[0]
    assert not errors
