"""The forms of the microblog: their labels and field names."""

from __future__ import annotations

import re

import pytest
from quart import Quart

from app.greeting import NameForm
from app.posts.routes import PostForm
from app.profiles.forms import EditProfileForm
from app.web.forms import Form
from tests.factories import logged_in

FIELD = re.compile(r'<label[^>]* for="(\w+)">(.*?)</label>')


@pytest.mark.parametrize(
    ("path", "form", "fields"),
    [
        ("/index", PostForm, [("post", "Say something")]),
        ("/edit_profile", EditProfileForm, [("username", "Username"), ("about_me", "About me")]),
        ("/hello", NameForm, [("name", "What is your name?")]),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_fields_have_their_labels(
    app: Quart, path: str, form: type[Form], fields: list[tuple[str, str]]
) -> None:
    susan, _ = await logged_in(app, "susan")
    text = (await susan.get(path)).text
    assert FIELD.findall(text) == fields
    for name, _ in fields:
        assert re.search(rf'<(input|textarea)[^>]* id="{name}"[^>]* name="{name}"', text)
        assert hasattr(form, name)
    assert f'action="{path}"' in text
    assert 'name="submit"' in text
    assert 'name="csrf_token"' in text
