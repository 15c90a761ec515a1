"""Changing the password and the address, downloading one's data, and leaving."""

from __future__ import annotations

import json
import re

import pytest
from quart import Quart
from sqlalchemy import func, select, update

from app import mail, outbox
from app.accounts.models import KnownDevice, LoginSession, User, followers
from app.database import reading, writing
from app.email import send_email
from app.outbox.models import Content, Delivery
from app.posts.models import Post
from app.quart_mail import Message
from tests.factories import PASSWORD, logged_in, make_follow, make_post, make_user
from tests.visitor import Page, Visitor

NEW = "battery staple"
LINK = re.compile(r"http://127\.0\.0\.1:8000(/change_email/\S+)")


async def sent_by(app: Quart) -> list[Message]:
    with mail.record_messages() as sent:
        await outbox.drain()
    return sent


async def change_password(visitor: Visitor, current: str = PASSWORD, new: str = NEW) -> Page:
    return await visitor.submit("/change_password", current=current, password=new, password2=new)


async def test_the_password_is_changed_and_others_are_logged_out(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    other = Visitor(app)
    await other.log_in("susan")
    await sent_by(app)
    reset = await _reset_link()
    page = await change_password(visitor)
    assert page.location == "/account"
    assert (await visitor.get("/account")).status == 200
    assert (await other.get("/index")).status == 302
    assert (await Visitor(app).log_in("susan")).flashes == ["Invalid username or password"]
    assert (await Visitor(app).log_in("susan", NEW)).location == "/index"
    assert (await visitor.get(reset)).location == "/reset_password_request"
    subjects = [message.subject for message in await sent_by(app)]
    assert "[Microblog] Your password was changed" in subjects


async def _reset_link() -> str:
    async with writing() as session:
        user = await session.scalar(select(User))
        return f"/reset_password/{user.get_reset_password_token()}"


async def test_a_wrong_current_password_changes_nothing(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    page = await change_password(visitor, current="wrong horse")
    assert page.errors("current") == ["This is not your current password."]
    assert await sent_by(app) == []
    assert (await Visitor(app).log_in("susan")).location == "/index"


async def ask(visitor: Visitor, address: str = "new@example.com", current: str = PASSWORD) -> Page:
    return await visitor.submit("/change_email", email=address, current=current)


async def stored_address() -> str:
    async with reading() as connection:
        found = await connection.execute(select(User.email).where(User.username == "susan"))
        return found.scalar_one()


def link_in(messages: list[Message]) -> str:
    [found] = [match[1] for message in messages if (match := LINK.search(message.body))]
    return found


async def test_the_address_is_changed_once_the_new_one_has_confirmed_it(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    other = Visitor(app)
    await other.log_in("susan")
    await sent_by(app)
    assert (await ask(visitor)).location == "/account"
    messages = await sent_by(app)
    assert sorted(m.recipients[0] for m in messages) == ["new@example.com", "susan@example.com"]
    link = link_in(messages)
    assert [m.recipients for m in messages if link in m.html] == [["new@example.com"]]
    assert await stored_address() == "susan@example.com"
    assert (await visitor.get(link)).status == 200
    assert (await visitor.client.head(link)).status_code == 200
    assert await stored_address() == "susan@example.com"
    reset = await _reset_link()
    assert (await visitor.submit(link)).location == "/account"
    assert await stored_address() == "new@example.com"
    [notice] = await sent_by(app)
    assert notice.recipients == ["susan@example.com"]
    assert notice.subject == "[Microblog] Your email address was changed"
    assert (await visitor.get("/index")).status == 200
    assert (await other.get("/index")).status == 302
    assert (await visitor.get(reset)).location == "/reset_password_request"
    assert (await visitor.get(link)).location == "/account"


async def test_the_link_works_in_a_browser_that_is_not_logged_in(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    await ask(visitor)
    link = link_in(await sent_by(app))
    assert (await Visitor(app).submit(link)).location == "/login"
    assert await stored_address() == "new@example.com"
    assert (await visitor.get("/index")).status == 302


async def test_a_change_of_password_ends_the_link(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    await ask(visitor)
    link = link_in(await sent_by(app))
    await change_password(visitor)
    assert (await visitor.get(link)).location == "/account"
    assert await stored_address() == "susan@example.com"


async def test_asking_needs_the_current_password(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    page = await ask(visitor, current="wrong horse")
    assert page.errors("current") == ["This is not your current password."]
    assert await sent_by(app) == []


async def test_a_taken_address_gets_the_same_answer_and_its_owner_the_news(app: Quart) -> None:
    await make_user("david")
    visitor, _ = await logged_in(app, "susan")
    free, taken = await ask(visitor), await ask(visitor, "DAVID@example.com")
    assert (free.status, free.location) == (taken.status, taken.location)
    messages = await sent_by(app)
    assert not any(LINK.search(message.body) for message in messages)
    [news] = [m for m in messages if m.recipients == ["david@example.com"]]
    assert news.subject == "[Microblog] You have an account already"
    assert "susan" not in news.body


async def test_an_address_taken_meanwhile_is_not_taken_away(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    await ask(visitor)
    link = link_in(await sent_by(app))
    await make_user("david", email="New@example.com")
    page = await visitor.submit(link)
    assert page.location == "/account"
    assert (await visitor.get("/account")).flashes[-1] == "That link is not valid any more."
    assert await stored_address() == "susan@example.com"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_link_for_one_purpose_is_none_for_another(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    reset = (await _reset_link()).rpartition("/")[2]
    await ask(visitor)
    change = link_in(await sent_by(app)).rpartition("/")[2]
    assert (await visitor.get(f"/change_email/{reset}")).location == "/account"
    assert (await visitor.get(f"/reset_password/{change}")).location == "/reset_password_request"
    assert (await Visitor(app).get(f"/confirm/{change}")).location == "/login"


async def test_ones_data_comes_by_mail_as_an_attachment(app: Quart) -> None:
    visitor, user_id = await logged_in(app, "susan", about_me="I 🐴 & <b>")
    other_id = await make_user("david")
    await make_follow(user_id, other_id)
    await make_post(user_id, "first", minute=1)
    await make_post(user_id, "sécond", minute=2)
    await make_post(other_id, "not mine")
    page = await visitor.submit("/download_data")
    assert page.location == "/account"
    [message] = await sent_by(app)
    assert message.recipients == ["susan@example.com"]
    [attachment] = message.attachments
    assert (attachment.filename, attachment.content_type) == ("microblog.json", "application/json")
    data = json.loads(attachment.data)
    assert data["account"]["about_me"] == "I 🐴 & <b>"
    assert [post["body"] for post in data["posts"]["listed"]] == ["sécond", "first"]
    assert data["following"] == {"total": 1, "listed": [{"username": "david"}]}
    assert data["followers"]["total"] == 0
    assert data["sessions"]["total"] == 1
    for secret in ("pbkdf2", "digest", "not mine"):
        assert secret not in attachment.data.decode()


async def leave(visitor: Visitor, **fields: str) -> Page:
    return await visitor.submit("/delete_account", **({"current": PASSWORD, "sure": "y"} | fields))


@pytest.mark.parametrize(("field", "value"), [("current", "wrong horse"), ("sure", ""), ("current", "")])  # fmt: skip
async def test_leaving_needs_the_password_and_a_tick(app: Quart, field: str, value: str) -> None:
    visitor, _ = await logged_in(app, "susan")
    fields = {"current": PASSWORD, "sure": "y"} | {field: value}
    page = await visitor.submit("/delete_account", **{k: v for k, v in fields.items() if v})
    assert page.status == 200
    assert len(page.errors(field)) == 1
    assert (await visitor.get("/index")).status == 200


async def test_who_leaves_takes_everything_along(app: Quart) -> None:
    visitor, user_id = await logged_in(app, "susan")
    other_id = await make_user("david")
    await make_follow(user_id, other_id)
    await make_follow(other_id, user_id)
    await make_post(user_id, "mine")
    await make_post(other_id, "still here")
    await visitor.submit("/download_data")
    await Visitor(app).submit("/reset_password_request", email="SUSAN@example.com")
    await send_email("Hello", None, ["susan@example.com"], "text", None)
    await send_email("Hello", None, ["susan@example.com", "david@example.com"], "text", None)
    page = await leave(visitor)
    assert page.location == "/login"
    assert (await visitor.get("/login")).flashes[-1] == "Your account has been deleted."
    messages = await sent_by(app)
    assert sorted((m.recipients[0], m.subject) for m in messages if "susan" in m.recipients[0]) in (
        [("susan@example.com", "[Microblog] Your account was deleted")],
        [
            ("susan@example.com", "Hello"),
            ("susan@example.com", "[Microblog] Your account was deleted"),
        ],
    )  # fmt: skip -- the mail to both names both, and goes to david
    async with reading() as connection:
        for table, left in ((User, 1), (Post, 1), (LoginSession, 0), (KnownDevice, 0), (followers, 0), (Content, 0)):  # fmt: skip
            count = select(func.count()).select_from(table)
            assert await connection.scalar(count) == left, table
        kept = (await connection.execute(select(Delivery))).all()
    assert "susan" not in repr(kept)
    assert (await visitor.get("/index")).location == "/login?next=/index"
    assert (await Visitor(app).register("susan")).location == "/login"


async def test_links_of_an_account_that_is_gone_are_not_good_for_a_later_one(app: Quart) -> None:
    visitor, user_id = await logged_in(app, "susan")
    reset = await _reset_link()
    await ask(visitor)
    change = link_in(await sent_by(app))
    await leave(visitor)
    later_id = await make_user("david")
    async with writing() as session:
        await session.execute(update(User).where(User.id == later_id).values(id=user_id))
    assert (await visitor.get(reset)).location == "/reset_password_request"
    assert (await visitor.get(change)).location == "/login"


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    "path", ["/account", "/sessions", "/change_password", "/change_email", "/download_data", "/delete_account"]
)  # fmt: skip
async def test_these_pages_are_for_owners_and_nobody_else(app: Quart, path: str) -> None:
    assert (await Visitor(app).get(path)).location == f"/login?next={path}"
    visitor, _ = await logged_in(app, "susan")
    page = await visitor.get(path)
    assert page.status == 200
    assert page.response.headers["Cache-Control"] == "no-store"
