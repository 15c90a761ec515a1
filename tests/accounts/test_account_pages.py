"""Changing the password and the address, and what invalidates the links."""

from __future__ import annotations

import pytest
from quart import Quart
from sqlalchemy import select, update

from app.accounts.models import User
from app.database import reading, writing
from app.quart_mail import Message
from tests.clients import Page, Visitor
from tests.factories import PASSWORD, logged_in, make_user
from tests.inspection import bodies, link_to, sent_by

NEW = "battery staple"
ASK_AGAIN = "/reset_password_request?again=1"


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
    assert (await visitor.get(reset)).location == ASK_AGAIN
    subjects = [message.subject for message in await sent_by(app)]
    assert "[Microblog] Your password was changed" in subjects


async def _reset_link() -> str:
    async with writing() as session:
        user = (await session.scalars(select(User))).one()
        return f"/reset_password/{user.get_reset_password_token()}"


async def test_the_current_password_and_address_are_refused_as_new_ones(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    page = await change_password(visitor, new=PASSWORD)
    assert page.errors("password") == ["Your new password must be different from your current one."]
    page = await visitor.submit("/change_email", email="susan@example.com", current=PASSWORD)
    assert page.errors("email") == ["This is already your email address."]
    assert await sent_by(app) == []


async def test_logging_in_while_logged_in_says_so(app: Quart) -> None:
    await make_user("david")
    visitor, _ = await logged_in(app, "susan")
    assert (await visitor.post("/login", username="david", password=PASSWORD)).location == "/index"
    assert (await visitor.get("/index")).flashes == ["You are already logged in as susan."]


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
    [text] = [message.body for message in messages if "/change_email/" in (message.body or "")]
    return link_to("change_email", text)


async def test_the_address_is_changed_once_the_new_one_has_confirmed_it(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    other = Visitor(app)
    await other.log_in("susan")
    await sent_by(app)
    assert (await ask(visitor)).location == "/account"
    messages = await sent_by(app)
    assert sorted(m.recipients[0] for m in messages) == ["new@example.com", "susan@example.com"]
    link = link_in(messages)
    assert [m.recipients for m in messages if link in bodies(m)[1]] == [["new@example.com"]]
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
    assert (await visitor.get(reset)).location == ASK_AGAIN
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


async def test_an_email_change_needs_the_current_password(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    page = await ask(visitor, current="wrong horse")
    assert page.errors("current") == ["This is not your current password."]
    assert await sent_by(app) == []


async def test_a_taken_address_gets_the_same_answer_and_its_owner_a_notice(app: Quart) -> None:
    await make_user("david")
    visitor, _ = await logged_in(app, "susan")
    free, taken = await ask(visitor), await ask(visitor, "DAVID@example.com")
    assert (free.status, free.location) == (taken.status, taken.location)
    messages = await sent_by(app)
    assert not any("/change_email/" in (message.body or "") for message in messages)
    [news] = [m for m in messages if m.recipients == ["david@example.com"]]
    assert news.subject == "[Microblog] You already have an account"
    assert "susan" not in bodies(news)[0]


async def test_an_address_taken_meanwhile_is_not_taken_away(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    await ask(visitor)
    link = link_in(await sent_by(app))
    await make_user("david", email="New@example.com")
    page = await visitor.submit(link)
    assert page.location == "/account"
    assert (await visitor.get("/account")).flashes[-1] == "That link is no longer valid."
    assert await stored_address() == "susan@example.com"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_link_is_valid_for_its_own_purpose_only(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    reset = (await _reset_link()).rpartition("/")[2]
    await ask(visitor)
    change = link_in(await sent_by(app)).rpartition("/")[2]
    assert (await visitor.get(f"/change_email/{reset}")).location == "/account"
    assert (await visitor.get(f"/reset_password/{change}")).location == ASK_AGAIN
    assert (await Visitor(app).get(f"/confirm/{change}")).location == "/login"


async def test_links_of_a_deleted_account_do_not_work_for_a_later_one(app: Quart) -> None:
    visitor, user_id = await logged_in(app, "susan")
    reset = await _reset_link()
    await ask(visitor)
    change = link_in(await sent_by(app))
    await visitor.submit("/delete_account", current=PASSWORD, sure="y")
    later_id = await make_user("david")
    async with writing() as session:
        await session.execute(update(User).where(User.id == later_id).values(id=user_id))
    assert (await visitor.get(reset)).location == "/reset_password_request"
    assert (await visitor.get(change)).location == "/login"


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    "path", ["/account", "/sessions", "/change_password", "/change_email", "/download_data", "/delete_account"]
)  # fmt: skip
async def test_account_pages_require_a_login(app: Quart, path: str) -> None:
    assert (await Visitor(app).get(path)).location == f"/login?next={path}"
    visitor, _ = await logged_in(app, "susan")
    page = await visitor.get(path)
    assert page.status == 200
    assert page.response.headers["Cache-Control"] == "no-store"
