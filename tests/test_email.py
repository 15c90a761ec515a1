"""The tutorials' mail functions: durable, part of the caller's transaction, with a handle to await."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import func, select

from app import email, mail, outbox
from app.accounts import service
from app.accounts.models import User
from app.database import reading, writing
from app.outbox.models import DONE_STATES, Delivery
from app.quart_mail import Attachment, Message
from tests.factories import make_user
from tests.inspection import bodies

Send = Callable[[User], Awaitable[outbox.Handle]]


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {
        "ADMINS": "root@example.com",
        "FLASKY_ADMIN": "boss@example.com",
        "MAIL_DEFAULT_SENDER": "Microblog <noreply@example.com>",
    }


@pytest.fixture
async def susan(app: Quart) -> User:
    user_id = await make_user("susan")
    async with writing() as session:
        return await session.get_one(User, user_id)


async def ready_made(user: User) -> outbox.Handle:
    return await email.send_email(
        "Hello",
        ("Miguel", "miguel@example.com"),
        [user.email, "david@example.com"],
        "as text",
        "<p>as HTML</p>",
        attachments=[
            ("posts.json", "application/json", b'{"posts": []}'),
            Attachment("dot.png", "image/png", b"\x89PNG"),
        ],
    )


async def by_template(user: User) -> outbox.Handle:
    return await email.send_template_email(user.email, "New User", "email/new_user", username="Ann <3")


async def of_new_user(user: User) -> outbox.Handle:
    return await email.send_new_user_email(user.username)


async def of_error(user: User) -> outbox.Handle:
    try:
        raise KeyError(user.email)
    except KeyError as error:
        return await email.send_error_report(error)


SUBJECTS: dict[Send, tuple[str, str]] = {
    by_template: ("susan@example.com", "[Microblog] New User"),
    email.send_password_reset_email: ("susan@example.com", "[Microblog] Reset Your Password"),
    email.send_password_changed_email: ("susan@example.com", "[Microblog] Your password was changed"),
    of_new_user: ("boss@example.com", "[Microblog] New User"),
    of_error: ("root@example.com", "[Microblog] Failure"),
}  # fmt: skip
EVERY: list[Send] = [ready_made, *SUBJECTS]


async def delivered(handle: outbox.Handle) -> list[Message]:
    """Deliver what is due and return it; the handle must end by that and not before."""
    assert not any(state in DONE_STATES for state in (await handle.states()).values())
    with mail.record_messages() as sent:
        await outbox.drain()
    assert await handle == "sent"
    return list(sent)


@pytest.mark.parametrize("send", SUBJECTS)
async def test_each_mail_goes_to_whom_it_is_for(susan: User, send: Send) -> None:
    [message] = await delivered(await send(susan))
    assert (message.recipients[0], message.subject) == SUBJECTS[send]
    assert message.body
    assert message.html


async def test_a_ready_made_mail_arrives_as_it_was_given(susan: User) -> None:
    sent = await delivered(await ready_made(susan))
    recipients = sorted(address for message in sent for address in message.send_to)
    assert recipients == ["david@example.com", "susan@example.com"]
    for message in sent:
        content = message.as_string()
        assert "Subject: Hello" in content
        assert "Miguel <miguel@example.com>" in content
        assert "as text" in content
        assert "<p>as HTML</p>" in content
        files = [(file.filename, file.content_type, file.data) for file in message.attachments]
        assert files == [
            ("posts.json", "application/json", b'{"posts": []}'),
            ("dot.png", "image/png", b"\x89PNG"),
        ]


async def test_a_template_s_context_is_text_in_text_and_escaped_in_html(susan: User) -> None:
    [message] = await delivered(await by_template(susan))
    text, html = bodies(message)
    assert "Ann <3 has joined." in text
    assert "Ann &lt;3 has joined." in html


async def test_an_error_report_contains_no_values(susan: User) -> None:
    [message] = await delivered(await of_error(susan))
    text, _ = bodies(message)
    assert "KeyError" in text
    assert "susan@example.com" not in text


@pytest.mark.parametrize("send", EVERY)
async def test_a_mail_is_part_of_the_block_it_is_sent_in(susan: User, send: Send) -> None:
    with pytest.raises(ZeroDivisionError):
        async with writing():
            handle = await send(susan)
            raise ZeroDivisionError
    with mail.record_messages() as sent:
        await outbox.drain()
    assert sent == []
    async with reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(Delivery)) == 0
    with pytest.raises(outbox.NotPosted):
        await handle


async def test_a_reset_requested_by_page_and_function_is_one_mail(susan: User) -> None:
    await email.send_password_reset_email(susan)
    await service.request_reset("SUSAN@example.com")
    with mail.record_messages() as sent:
        await outbox.drain()
    assert [message.subject for message in sent] == ["[Microblog] Reset Your Password"]


async def test_one_recipient_may_be_given_as_text(susan: User) -> None:
    [message] = await delivered(await email.send_email("Hi", None, "ann@example.com", "Hi!", None))
    assert list(message.send_to) == ["ann@example.com"]
