"""Resetting a password: the mail, how often it is sent, its link, and everything that invalidates the link."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from quart import Quart
from sqlalchemy import delete, func, select, update

from app import mail, outbox
from app.accounts import passwords
from app.accounts.models import LoginSession, User
from app.database import reading, writing
from app.outbox.models import Delivery
from app.quart_mail import Message
from tests.clients import Page, Visitor
from tests.factories import make_user
from tests.inspection import bodies, reset_link

NOT_VALID = "That reset link is not valid any more. Please ask for a new one."
CHECK_EMAIL = [
    "Check your email for the instructions to reset your password",
    "If an account uses this address, a link is on its way. You can ask for another one in a minute.",
]


@pytest.fixture
async def visitor(app: Quart) -> Visitor:
    visitor = Visitor(app)
    await visitor.register("susan")
    await outbox.drain()  # the welcome
    await visitor.get("/login")  # where the congratulation is read
    async with writing() as session:  # anything otherwise
        await session.execute(update(User).values(credentials_version=0))
    return visitor


async def request_reset(visitor: Visitor, address: str = "susan@example.com") -> list[Message]:
    """Ask for a reset and return the mails that go out by it."""
    with mail.record_messages() as sent:
        page = await visitor.submit("/reset_password_request", email=address)
        assert page.location == "/login"
        assert (await visitor.get("/login")).flashes == CHECK_EMAIL
        await outbox.drain()
    return sent


async def link_for(visitor: Visitor) -> str:
    [message] = await request_reset(visitor)
    return reset_link(message.body)


async def choose(visitor: Visitor, link: str, password: str = "battery staple") -> str | None:
    page = await visitor.submit(link, password=password, password2=password)
    return page.location


async def test_a_reset_from_the_request_to_the_login(visitor: Visitor) -> None:
    [message] = await request_reset(visitor)
    assert message.subject == "[Microblog] Reset Your Password"
    assert message.recipients == ["susan@example.com"]
    text, _ = bodies(message)
    assert text.startswith("Dear susan,")
    assert "\n\nSincerely,\n\nThe Microblog Team\n\nYou are receiving this because" in text
    link = reset_link(message.body)
    for body in bodies(message):
        assert f"http://127.0.0.1:8000{link}" in body
    page = await visitor.get(link)
    assert (page.status, page.title) == (200, "Reset Your Password - Microblog")
    assert await choose(visitor, link) == "/login"
    assert (await visitor.get("/login")).flashes == ["Your password has been reset."]
    assert (await visitor.log_in("susan")).flashes == ["Invalid username or password"]
    assert (await visitor.log_in("susan", "battery staple")).location == "/index"


async def test_the_owner_is_notified_of_the_new_password(visitor: Visitor) -> None:
    link = await link_for(visitor)
    with mail.record_messages() as sent:
        await choose(visitor, link)
        await outbox.drain()
    [message] = sent
    assert message.subject == "[Microblog] Your password was changed"
    assert message.recipients == ["susan@example.com"]
    assert "/reset_password/" not in bodies(message)[0]


async def test_every_address_gets_the_same_answer(visitor: Visitor) -> None:
    assert await request_reset(visitor, "nobody@example.com") == []


@pytest.mark.parametrize("address", ["susan@company.local", "susan@intranet"])
async def test_addresses_that_are_refused_today_still_get_a_reset_link(
    visitor: Visitor, address: str
) -> None:
    await make_user("miller", email=address)
    [message] = await request_reset(visitor, f" {address} ")
    assert message.recipients == [address]


@pytest.mark.parametrize("typed", ["susan", "susan@", "@example.com", "susan@exam ple", "su san@example.com"])
async def test_a_reset_for_something_that_is_not_an_address_is_refused(visitor: Visitor, typed: str) -> None:
    page = await visitor.submit("/reset_password_request", email=typed)
    assert page.errors("email") == ["Invalid email address."]


@pytest.mark.parametrize("typed", ["SUSAN@Example.com", "ｓusan@example.com"])
async def test_mail_goes_to_the_stored_address_only(visitor: Visitor, typed: str) -> None:
    sent = await request_reset(visitor, typed)
    assert [message.recipients for message in sent] == [["susan@example.com"]]


async def test_no_token_is_stored(visitor: Visitor) -> None:
    await visitor.submit("/reset_password_request", email="susan@example.com")
    async with reading() as connection:
        rows = (await connection.exec_driver_sql("SELECT * FROM outbox")).all()
    assert rows
    assert "eyJ" not in repr(rows)


async def test_a_link_works_once(visitor: Visitor) -> None:
    link = await link_for(visitor)
    assert await choose(visitor, link) == "/login"
    page = await visitor.get(link)
    assert page.location == "/reset_password_request"
    assert (await visitor.get(page.location)).flashes[-1] == NOT_VALID


async def test_opening_a_link_does_not_use_it_up(visitor: Visitor) -> None:
    link = await link_for(visitor)
    for _ in range(3):
        assert (await visitor.get(link)).status == 200
        assert (await visitor.client.head(link)).status_code == 200
    assert await choose(visitor, link) == "/login"


async def test_one_of_twenty_simultaneous_resets_succeeds(visitor: Visitor, app: Quart) -> None:
    link = await link_for(visitor)
    visitors = [Visitor(app) for _ in range(20)]
    tokens = [(await each.get(link)).token for each in visitors]
    pages = await asyncio.gather(
        *(
            each.post(link, csrf_token=token, password=f"password {n:02}", password2=f"password {n:02}")
            for n, (each, token) in enumerate(zip(visitors, tokens, strict=True))
        )
    )
    winners = [n for n, page in enumerate(pages) if page.location == "/login"]
    assert len(winners) == 1
    assert (await Visitor(app).log_in("susan", f"password {winners[0]:02}")).location == "/index"


async def test_a_new_password_ends_every_session(visitor: Visitor, app: Quart) -> None:
    elsewhere = Visitor(app)
    await elsewhere.log_in("susan")
    await choose(visitor, await link_for(visitor))
    assert (await elsewhere.get("/index")).location == "/login?next=/index"
    async with reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(LoginSession)) == 0


async def test_a_link_opens_for_a_visitor_who_is_logged_in(visitor: Visitor) -> None:
    link = await link_for(visitor)
    await visitor.log_in("susan")
    assert (await visitor.get(link)).status == 200
    assert await choose(visitor, link) == "/login"


async def test_another_change_of_credentials_ends_the_link(visitor: Visitor) -> None:
    link = await link_for(visitor)
    async with writing() as session:
        user = (await session.scalars(select(User))).one()
        await user.set_password("changed meanwhile")
    assert (await visitor.get(link)).location == "/reset_password_request"


async def test_a_new_address_ends_the_link(visitor: Visitor) -> None:
    link = await link_for(visitor)
    async with writing() as session:
        user = (await session.scalars(select(User))).one()
        user.email = "susan@example.com"  # the same: nothing has changed
    assert (await visitor.get(link)).status == 200
    async with writing() as session:
        user = (await session.scalars(select(User))).one()
        user.email = "new@example.com"
    assert user.credentials_version == 1
    assert (await visitor.get(link)).location == "/reset_password_request"


async def test_a_reset_link_of_a_deleted_account_does_not_work_for_the_next_one(visitor: Visitor) -> None:
    made = []
    for name in ("david", "maria"):
        user = User(id=50, username=name, email=f"{name}@example.com")
        await user.set_password("correct horse")
        async with writing() as session:
            session.add(user)
        made.append(f"/reset_password/{user.get_reset_password_token()}")
        assert (await visitor.get(made[-1])).status == 200
        if name == "david":
            async with writing() as session:
                await session.execute(delete(User).where(User.id == 50))
    assert (await visitor.get(made[0])).location == "/reset_password_request"


async def test_a_logged_in_visitor_can_request_a_new_link_after_an_invalid_one(visitor: Visitor) -> None:
    await visitor.log_in("susan")
    again = "/reset_password_request?again=1"
    assert (await visitor.get("/reset_password/used-up")).location == again
    page = await visitor.get(again)
    assert page.title == "Reset Password - Microblog"
    assert page.flashes[-1] == NOT_VALID
    await visitor.submit(again, email="nonsense")
    assert f'action="{again}"' in page.text
    page = await visitor.submit(again, email="susan@example.com")
    assert page.location == "/login"
    assert (await visitor.get("/index")).flashes == CHECK_EMAIL
    with mail.record_messages() as sent:
        await outbox.drain()
    assert "[Microblog] Reset Your Password" in [message.subject for message in sent]


async def test_a_logged_in_visitor_without_an_invalid_link_goes_to_the_timeline(visitor: Visitor) -> None:
    await visitor.log_in("susan")
    assert (await visitor.get("/reset_password_request")).location == "/index"


async def test_a_link_expires_by_the_time_of_the_request_not_of_the_delivery(visitor: Visitor) -> None:
    await visitor.submit("/reset_password_request", email="susan@example.com")
    asked = datetime.now(UTC) - timedelta(minutes=8)
    async with writing() as session:
        await session.execute(
            update(outbox.models.Delivery)
            .where(outbox.models.Delivery.kind == "reset_password")
            .values(created_at=asked)
        )
    with mail.record_messages() as sent:
        await outbox.drain()
    token = next(reset_link(m.body) for m in sent if "Reset" in m.subject).rpartition("/")[2]
    expiry = jwt.decode(token, options={"verify_signature": False})["exp"]
    assert abs(expiry - (asked + timedelta(minutes=10)).timestamp()) < 2


def forge(app: Quart, key: str | None = None, **claims: object) -> str:
    payload = {"reset_password": 1, "version": 0, "exp": datetime.now(UTC) + timedelta(minutes=5)}
    payload = {k: v for k, v in (payload | claims).items() if v is not None}
    return jwt.encode(payload, key or app.config["SECRET_KEY"], algorithm="HS256")


async def test_a_genuine_token_is_accepted(visitor: Visitor, app: Quart) -> None:
    assert (await visitor.get(f"/reset_password/{forge(app)}")).status == 200


@pytest.mark.parametrize(
    "claims",
    [{"exp": None}, {"exp": datetime(2020, 1, 1, tzinfo=UTC)}, {"reset_password": "1"},
     {"reset_password": True}, {"reset_password": None}, {"reset_password": 10**30}, {"version": 7},
     {"version": None}, {"version": -(10**30)}, {"key": "another key of thirty-two bytes or more"}],
)  # fmt: skip
async def test_a_forged_or_expired_token_gets_the_ordinary_answer(
    visitor: Visitor, app: Quart, claims: dict[str, Any]
) -> None:
    page = await visitor.get(f"/reset_password/{forge(app, **claims)}")
    assert page.location == "/reset_password_request"
    assert (await visitor.get(page.location)).flashes == [NOT_VALID]


@pytest.mark.parametrize(
    "token", ["x", "%00", "a.b.c", "%ff%fe", "x" * 5000, "١٢", "eyJhbGciOiJub25lIn0.e30."]
)
async def test_a_malformed_token_gets_the_ordinary_answer(visitor: Visitor, token: str) -> None:
    page = await visitor.get(f"/reset_password/{token}")
    assert page.location == "/reset_password_request"


async def test_links_signed_with_a_fallback_key_still_work(visitor: Visitor, app: Quart) -> None:
    link = await link_for(visitor)
    app.config["SECRET_KEY_FALLBACKS"] = [app.config["SECRET_KEY"]]
    app.config["SECRET_KEY"] = "a new key of at least thirty-two bytes"
    assert await choose(visitor, link) == "/login"


async def test_the_names_of_the_tutorial_work(visitor: Visitor) -> None:
    async with reading() as connection:
        user_id = await connection.scalar(select(User.id))
    async with writing() as session:
        user = await session.get_one(User, user_id)
    token = user.get_reset_password_token(expires_in=60)
    found = await User.verify_reset_password_token(token)
    assert found is not None
    assert found.id == user_id
    assert await found.check_password("correct horse")
    assert await User.verify_reset_password_token("nonsense") is None
    assert found.avatar(128).startswith("/avatar/")


async def test_a_login_in_progress_during_a_reset_fails(visitor: Visitor, app: Quart) -> None:
    link = await link_for(visitor)

    class Delayed(passwords.Hasher):
        """A reset is completed while the old password is being checked."""

        async def run(self, function: str, *arguments: str, peer: str = "") -> tuple[Any, float]:
            app.extensions["passwords"] = calm
            assert await choose(Visitor(app), link) == "/login"
            return await super().run(function, *arguments)

    token = (await visitor.get("/login")).token
    calm = app.extensions["passwords"]
    app.extensions["passwords"] = Delayed(0)
    page = await visitor.post("/login", username="susan", password="correct horse", csrf_token=token)
    assert page.flashes == ["Invalid username or password"]
    async with reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(LoginSession)) == 0


async def ask(app: Quart, address: str = "susan@example.com") -> tuple[Page, list[Message]]:
    with mail.record_messages() as sent:
        page = await Visitor(app).submit("/reset_password_request", email=address)
        await outbox.drain()
    return page, sent


async def let_pass(time: timedelta) -> None:
    """Make every mail that went out as old as if `time` had passed."""
    async with reading() as connection:
        rows = (await connection.execute(select(Delivery.id, Delivery.handed_at))).all()
    async with writing() as session:
        for row in rows:
            if row.handed_at is not None:
                handed_at = row.handed_at - time
                await session.execute(
                    update(Delivery).where(Delivery.id == row.id).values(handed_at=handed_at)
                )


async def test_reset_mails_are_a_minute_apart_and_the_page_does_not_show_it(app: Quart) -> None:
    await make_user("susan")
    first, sent = await ask(app)
    assert len(sent) == 1
    second, sent = await ask(app, "SUSAN@example.com")
    assert sent == []
    assert (first.status, first.location, first.text) == (second.status, second.location, second.text)  # fmt: skip
    await let_pass(timedelta(seconds=61))
    assert len((await ask(app))[1]) == 1


async def test_at_most_five_reset_mails_an_hour_and_ten_a_day_are_sent(app: Quart) -> None:
    await make_user("susan")

    async def asked(times: int, apart: timedelta) -> int:
        count = 0
        for _ in range(times):
            count += len((await ask(app))[1])
            await let_pass(apart)
        return count

    assert await asked(7, timedelta(seconds=61)) == 5
    await let_pass(timedelta(hours=1))
    assert await asked(7, timedelta(minutes=21)) == 5
    await let_pass(timedelta(days=1))
    assert await asked(1, timedelta()) == 1


async def test_each_account_has_its_own_limit_of_reset_mails(app: Quart) -> None:
    for name in ("susan", "david"):
        await make_user(name)
        assert len((await ask(app, f"{name}@example.com"))[1]) == 1


async def test_several_waiting_requests_make_one_mail(app: Quart) -> None:
    await make_user("susan")
    for address in ("susan@example.com", "Susan@Example.com", " SUSAN@EXAMPLE.COM "):
        await Visitor(app).submit("/reset_password_request", email=address)
    with mail.record_messages() as sent:
        await outbox.drain()
    assert [message.recipients for message in sent] == [["susan@example.com"]]


async def test_a_completed_reset_ends_the_links_before_it(app: Quart) -> None:
    await make_user("susan")
    links = []
    for _ in range(2):
        links.append(reset_link((await ask(app))[1][0].body))
        await let_pass(timedelta(seconds=61))
    new, visitor = "battery staple", Visitor(app)
    assert (await visitor.submit(links[1], password=new, password2=new)).location == "/login"
    assert (await visitor.get(links[0])).location == "/reset_password_request"


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
    assert [secret in page.text for page in pages] == [False, True, True, False, False, False, False]
    assert only_in_its_own_form(pages[1], path)
    assert secret not in caplog.text
    async with reading() as connection:
        for table in TABLES:
            rows = (await connection.exec_driver_sql(f'SELECT * FROM "{table}"')).all()
            assert secret not in repr(rows)


def only_in_its_own_form(page: Page, path: str) -> bool:
    return page.text.count(path) == page.text.count(f'action="{path}"') == 1
