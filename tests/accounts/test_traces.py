"""Where a mailed token must not be: rows, logs, headers of any answer, reports."""

from __future__ import annotations

import logging

import pytest
from quart import Quart

from app import mail, outbox
from app.database import reading
from tests.clients import Page, Visitor
from tests.factories import make_user
from tests.inspection import reset_link

TABLES = ("user", "login_session", "known_device", "registration", "outbox", "outbox_content")


async def test_a_reset_token_is_in_the_mail_and_nowhere_else(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await make_user("susan")
    visitor, pages = Visitor(app), []
    with mail.record_messages() as sent:
        pages.append(await visitor.submit("/reset_password_request", email="susan@example.com"))
        await outbox.drain()
    path, new = reset_link(sent[0].body), "battery staple"
    pages.append(await visitor.get(path))
    pages.append(await visitor.submit(path, password="short", password2="other"))
    pages.append(await visitor.submit(path, password=new, password2=new))
    pages.append(await visitor.submit("/login", username="susan", password=new))
    pages.append(await Visitor(app).get(path))
    pages.append(await Visitor(app).get(path + "x"))
    secret = path.rpartition(".")[2]
    for page in pages:
        assert secret not in str(page.response.headers)
        assert page.response.headers["Referrer-Policy"] == "no-referrer"
        assert page.response.headers["Cache-Control"] == "no-store"
    assert [secret in page.text for page in pages] == [
        False,
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    assert only_in_its_own_form(pages[1], path)
    assert secret not in caplog.text
    async with reading() as connection:
        for table in TABLES:
            rows = (await connection.exec_driver_sql(f'SELECT * FROM "{table}"')).all()
            assert secret not in repr(rows)


def only_in_its_own_form(page: Page, path: str) -> bool:
    return page.text.count(path) == page.text.count(f'action="{path}"') == 1
