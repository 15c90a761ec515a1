"""Avatars drawn by the site instead of Gravatar."""

from __future__ import annotations

import re
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import delete

from app.accounts.models import LoginSession
from app.database import writing
from tests.factories import logged_in, make_post, make_user
from tests.inspection import statements_of


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"AVATARS": "local"}


async def test_pages_show_avatars_of_this_site_only(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    await make_post(await make_user("david"), "Hello")
    await make_post(me, "Hello too")
    pictures = set()
    for path in ("/explore", "/user/susan", "/user/david"):
        text = (await susan.get(path)).text
        assert "gravatar" not in text
        pictures |= set(re.findall(r'<img src="(/avatar/[^"]+)"', text))
    assert len(pictures) == 2
    drawings = set()
    for picture in pictures:
        page = await susan.get(picture)
        assert page.response.content_type == "image/svg+xml"
        assert "immutable" in page.response.headers["Cache-Control"]
        assert "h1v1h-1z" in page.text
        drawings.add(page.text)
    assert len(drawings) == 2


@pytest.mark.parametrize("name", ["x.svg", "A" * 32 + ".svg", "0" * 33 + ".svg", "%00.svg"])
async def test_only_digests_have_avatars(app: Quart, name: str) -> None:
    susan, _ = await logged_in(app, "susan")
    assert (await susan.get(f"/avatar/{name}")).status == 404


@pytest.mark.parametrize("ended", [False, True])
async def test_a_cached_avatar_does_not_depend_on_the_session(app: Quart, ended: bool) -> None:
    susan, _ = await logged_in(app, "susan")
    if ended:
        async with writing() as session:
            await session.execute(delete(LoginSession))
    page, statements = await statements_of(susan, f"/avatar/{'0f' * 16}.svg")
    assert page.status == 200
    assert "public" in page.response.headers["Cache-Control"]
    assert "Set-Cookie" not in page.response.headers
    assert "Vary" not in page.response.headers
    assert statements == []
