"""The sessions page, and the notice of a login from an unknown browser."""

from __future__ import annotations

import html
import re

import pytest
from quart import Quart
from sqlalchemy import func, select

from app import mail, outbox
from app.accounts import devices
from app.accounts.browsers import describe
from app.accounts.models import KnownDevice, LoginSession, User
from app.database import reading
from app.quart_mail import Message
from tests.clients import Page, Visitor
from tests.factories import PASSWORD, logged_in, make_user
from tests.inspection import bodies, reset_link, sent_after, sent_by

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1"
ROW = re.compile(r'<li class="session">(.*?)</li>', re.DOTALL)


async def log_in_with(app: Quart, user_agent: str) -> Visitor:
    visitor = Visitor(app)
    token = (await visitor.get("/login")).token
    response = await visitor.client.post(
        "/login",
        form={"username": "susan", "password": PASSWORD, "csrf_token": token},
        headers={"User-Agent": user_agent},
    )
    assert response.headers["Location"] == "/index"
    return visitor


def rows(page: Page) -> list[str]:
    return [html.unescape(row) for row in ROW.findall(page.text)]


def ids(page: Page) -> list[str]:
    return re.findall(r'name="session" value="(\d+)"', page.text)


async def test_each_session_is_shown_in_plain_words(app: Quart) -> None:
    await make_user("susan")
    await log_in_with(app, IPHONE)
    visitor = await log_in_with(app, FIREFOX)
    page = await visitor.get("/sessions")
    assert page.title == "Sessions - Microblog"
    mine, other = rows(page)
    assert "Firefox on Linux" in mine
    assert "this one" in mine
    assert "Safari on an iPhone" in other
    assert "this one" not in other
    assert "Last seen:" in other


async def test_logging_in_again_leaves_no_old_session_behind(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    before = ids(await visitor.get("/sessions"))
    await visitor.post("/login", username="susan", password=PASSWORD)
    assert ids(await visitor.get("/sessions")) == before
    new = {"current": PASSWORD, "password": "battery staple", "password2": "battery staple"}
    assert (await visitor.submit("/change_password", **new)).location == "/account"
    assert len(rows(await visitor.get("/sessions"))) == 1


async def test_one_session_is_ended(app: Quart) -> None:
    await make_user("susan")
    other = await log_in_with(app, IPHONE)
    visitor = await log_in_with(app, FIREFOX)
    page = await visitor.get("/sessions")
    ended = await visitor.post("/sessions/end", csrf_token=page.token, session=ids(page)[1])
    assert ended.location == "/sessions"
    page = await visitor.get("/sessions")
    assert page.flashes == ["The session has been ended."]
    assert len(rows(page)) == 1
    assert (await other.get("/index")).location == "/login?next=/index"


async def test_ending_the_current_session_logs_out(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    page = await visitor.get("/sessions")
    ended = await visitor.post("/sessions/end", csrf_token=page.token, session=ids(page)[0])
    assert ended.location == "/login"
    assert (await visitor.get("/index")).location == "/login?next=/index"


async def test_all_other_sessions_are_ended_at_once(app: Quart) -> None:
    await make_user("susan")
    others = [await log_in_with(app, IPHONE) for _ in range(3)]
    visitor = await log_in_with(app, FIREFOX)
    token = (await visitor.get("/sessions")).token
    await visitor.post("/sessions/end_others", csrf_token=token)
    assert (await visitor.get("/index")).status == 200
    for other in others:
        assert (await other.get("/index")).status == 302


async def test_nobody_ends_the_session_of_another_account(app: Quart) -> None:
    victim, _ = await logged_in(app, "susan")
    session = ids(await victim.get("/sessions"))[0]
    thief, _ = await logged_in(app, "david")
    token = (await thief.get("/sessions")).token
    await thief.post("/sessions/end", csrf_token=token, session=session)
    await thief.post("/sessions/end_others", csrf_token=token)
    assert (await victim.get("/index")).status == 200


def browsers(page: Page) -> list[str]:
    found = re.findall(r'<li class="session known">(.*?)</li>', page.text, re.DOTALL)
    return [" ".join(re.sub("<[^>]+>", "", html.unescape(row)).split()) for row in found]


async def test_known_browsers_are_listed_although_they_are_logged_out(app: Quart) -> None:
    await make_user("susan")
    await (await log_in_with(app, IPHONE)).submit("/logout")
    page = await (await log_in_with(app, FIREFOX)).get("/sessions")
    assert len(rows(page)) == 1
    this, other = browsers(page)
    assert this.startswith("Firefox on Linux this one Last login: ")
    assert other.startswith("Safari on an iPhone Last login: ")
    assert "Log out everywhere else" in page.text


async def log_in_again(visitor: Visitor, user_agent: str, password: str) -> None:
    form = {"username": "susan", "password": password, "csrf_token": (await visitor.get("/login")).token}
    response = await visitor.client.post("/login", form=form, headers={"User-Agent": user_agent})
    assert response.headers["Location"] == "/index"


async def test_a_reset_forgets_all_browsers_and_their_next_login_is_reported(app: Quart) -> None:
    await make_user("susan", email_confirmed=True)
    thief = await log_in_with(app, IPHONE)
    await Visitor(app).submit("/reset_password_request", email="susan@example.com")
    [message] = await sent_by(app)
    new = "violet anchor"
    await Visitor(app).submit(reset_link(message.body), password=new, password2=new)
    await sent_by(app)
    await log_in_again(thief, IPHONE, new)
    [notice] = await sent_by(app)
    assert notice.subject == "[Microblog] New login to your account"
    assert len(browsers(await thief.get("/sessions"))) == 1


async def test_logging_out_everywhere_else_forgets_all_other_browsers(app: Quart) -> None:
    await make_user("susan", email_confirmed=True)
    thief = await log_in_with(app, IPHONE)
    await thief.submit("/logout")
    visitor = await log_in_with(app, FIREFOX)
    await sent_by(app)
    token = (await visitor.get("/sessions")).token
    await visitor.post("/sessions/end_others", csrf_token=token)
    page = await visitor.get("/sessions")
    assert page.flashes == ["All other sessions have been ended, and all other browsers forgotten."]
    assert [browser.partition(" this")[0] for browser in browsers(page)] == ["Firefox on Linux"]
    assert "Log out everywhere else" not in page.text
    await visitor.submit("/logout")
    await log_in_again(visitor, FIREFOX, PASSWORD)
    assert await sent_after(app, 61) == []
    await log_in_again(thief, IPHONE, PASSWORD)
    [notice] = await sent_after(app, 122)
    assert notice.subject == "[Microblog] New login to your account"


async def test_a_new_password_forgets_all_browsers_but_the_one_that_set_it(app: Quart) -> None:
    await make_user("susan", email_confirmed=True)
    await log_in_with(app, IPHONE)
    visitor = await log_in_with(app, FIREFOX)
    await sent_by(app)
    new = {"current": PASSWORD, "password": "battery staple", "password2": "battery staple"}
    assert (await visitor.submit("/change_password", **new)).location == "/account"
    assert [message.subject for message in await sent_after(app, 61)] == [
        "[Microblog] Your password was changed"
    ]
    assert len(browsers(await visitor.get("/sessions"))) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("session", ["", "0", "-1", "x", "1e3", "١٢", "9" * 30, "1\0", "1_0"])
async def test_a_malformed_session_id_ends_nothing(app: Quart, session: str) -> None:
    visitor, _ = await logged_in(app, "susan")
    token = (await visitor.get("/sessions")).token
    page = await visitor.post("/sessions/end", csrf_token=token, session=session)
    assert page.location == "/sessions"
    assert (await visitor.get("/sessions")).status == 200


async def mails_of(app: Quart, *logins: str) -> list[Message]:
    with mail.record_messages() as sent:
        for user_agent in logins:
            await log_in_with(app, user_agent)
        await outbox.drain()
    return sent


async def test_the_second_browser_is_reported_but_not_the_first(app: Quart) -> None:
    await make_user("susan", email_confirmed=True)
    assert await mails_of(app, FIREFOX) == []
    [message] = await mails_of(app, IPHONE)
    assert message.recipients == ["susan@example.com"]
    assert message.subject == "[Microblog] New login to your account"
    for body in bodies(message):
        assert "Safari on an iPhone" in body
        assert "http://127.0.0.1:8000/sessions" in body
        assert "more login" not in body


async def test_notices_are_an_hour_apart_and_count_the_logins_between(app: Quart) -> None:
    await make_user("susan", email_confirmed=True)
    assert len(await mails_of(app, FIREFOX, IPHONE)) == 1
    assert await mails_of(app, *[FIREFOX] * 13) == []
    assert await sent_after(app, 59) == []
    [message] = await sent_after(app, 61)
    for body in bodies(message):
        assert "Firefox on Linux" in body
        assert "12 more logins from new browsers followed." in body
    assert await sent_after(app, 200) == []


async def test_at_most_five_notices_a_day_are_sent(app: Quart) -> None:
    await make_user("susan", email_confirmed=True)
    await mails_of(app, FIREFOX)
    sent = []
    for hour in range(23):
        await log_in_with(app, IPHONE)
        sent += await sent_after(app, 61 * hour)
    assert len(sent) == 5
    assert len(await sent_after(app, 24 * 60 + 1)) == 1


async def test_an_address_that_nobody_confirmed_gets_no_notice(app: Quart) -> None:
    await Visitor(app).register("susan", PASSWORD)
    assert [mail.subject for mail in await sent_by(app)] == ["[Microblog] Welcome to Microblog"]
    assert await mails_of(app, FIREFOX, IPHONE, FIREFOX) == []
    await Visitor(app).submit("/reset_password_request", email="susan@example.com")
    assert [mail.subject for mail in await sent_after(app, 1)] == ["[Microblog] Reset Your Password"]
    await log_in_with(app, IPHONE)
    [notice] = await sent_after(app, 2)
    assert notice.subject == "[Microblog] New login to your account"


async def test_following_a_mailed_link_confirms_the_address(app: Quart) -> None:
    await make_user("susan")
    await Visitor(app).submit("/reset_password_request", email="susan@example.com")
    [message] = await sent_by(app)
    visitor, new = Visitor(app), "violet anchor"
    await visitor.submit(reset_link(message.body), password=new, password2=new)
    async with reading() as connection:
        assert (await connection.execute(select(User.email_confirmed))).scalar_one() is True


async def test_a_known_browser_is_not_reported_again(app: Quart) -> None:
    await make_user("susan")
    visitor = await log_in_with(app, FIREFOX)
    await visitor.submit("/logout")
    with mail.record_messages() as sent:
        await visitor.log_in("susan", PASSWORD)
        await outbox.drain()
    assert sent == []
    async with reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(KnownDevice)) == 1


async def test_only_a_digest_of_the_device_cookie_is_stored(app: Quart) -> None:
    await make_user("susan")
    visitor = await log_in_with(app, FIREFOX)
    cookie = visitor.cookie("device")
    async with reading() as connection:
        [row] = (await connection.exec_driver_sql("SELECT * FROM known_device")).all()
    assert cookie not in repr(row)
    assert devices.digest(cookie) in repr(row)


async def test_the_number_of_known_browsers_is_bounded(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "MAX_DEVICES", 3)
    await make_user("susan")
    for _ in range(6):
        await log_in_with(app, FIREFOX)
    async with reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(KnownDevice)) == 3
        assert await connection.scalar(select(func.count()).select_from(LoginSession)) == 6


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (FIREFOX, "Firefox on Linux"),
        (IPHONE, "Safari on an iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.5.0", "curl"),
        ("Something (Windows)", "A browser on Windows"),
        ("<script>", "An unknown browser"),
        ("", "An unknown browser"),
    ],
)  # fmt: skip
def test_browsers_are_described_in_words(user_agent: str, words: str) -> None:
    assert describe(user_agent) == words


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("path", ["/sessions/end", "/sessions/end_others"])
async def test_a_button_with_an_expired_token_ends_nothing_and_says_what_to_do(app: Quart, path: str) -> None:
    visitor, _ = await logged_in(app, "susan")
    other = await log_in_with(app, FIREFOX)
    page = await visitor.post(path, csrf_token="stale", session="2")
    assert page.location == "/sessions"
    [said] = (await visitor.get("/sessions")).flashes
    assert said == "This page had expired. Please try again."
    assert (await other.get("/index")).status == 200


async def test_the_current_session_is_listed_first(app: Quart) -> None:
    await make_user("susan")
    first = await log_in_with(app, FIREFOX)
    await log_in_with(app, IPHONE)
    assert "Firefox" in rows(await first.get("/sessions"))[0]
