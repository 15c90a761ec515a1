"""SECRET_KEY replaced: with the old one among SECRET_KEY_FALLBACKS nobody notices, without it all is void."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from quart import Quart

from app import create_app
from tests.clients import Visitor
from tests.conftest import use_fresh_contexts
from tests.factories import PASSWORD, make_user
from tests.inspection import database_of

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

OLDEST, OLD, NEW = (secrets.token_urlsafe(32) for _ in range(3))


@asynccontextmanager
async def site(config: dict[str, Any], key: str, *older: str) -> AsyncIterator[Quart]:
    app = create_app(config | {"SECRET_KEY": key, "SECRET_KEY_FALLBACKS": ",".join(older)})
    use_fresh_contexts(app)
    async with app.app_context():
        yield app
    await database_of(app).dispose()


def moved(visitor: Visitor, app: Quart) -> Visitor:
    """Return the same browser at the site with other keys."""
    other = Visitor(app)
    other.client.cookie_jar = visitor.client.cookie_jar
    return other


async def test_logins_and_open_forms_outlive_a_rotation_and_end_with_the_old_key(
    config: dict[str, Any],
) -> None:
    async with site(config, OLD, OLDEST) as app:
        await make_user("susan")
        visitor = Visitor(app)
        await visitor.log_in("susan", PASSWORD)
        token = (await visitor.get("/index")).token
    async with site(config, NEW, OLD, OLDEST) as app:
        visitor = moved(visitor, app)
        page = await visitor.post("/index", post="over the rotation", csrf_token=token)
        assert page.location == "/index"
        again = Visitor(app)
        await again.log_in("susan", PASSWORD)
    async with site(config, NEW) as app:
        assert (await moved(again, app).get("/index")).status == 200
        assert (await moved(visitor, app).get("/index")).status == 302
    async with site(config, OLDEST) as app:
        assert (await moved(again, app).get("/index")).status == 302
