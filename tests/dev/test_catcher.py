"""The catcher is a real SMTP server: it keeps mails unchanged and shuts down cleanly."""

from __future__ import annotations

import asyncio
import threading

import aiosmtplib
import pytest

from app.dev.catcher import Catcher
from tests.dev.conftest import RECIPIENT, SENDER, Post, letter


async def test_a_mail_is_kept_byte_for_byte_with_its_envelope(post: Post) -> None:
    lines = b"Subject: Dots\n\n.\n..\n.a line\n\n\ttabs and trailing blanks  \n"

    mail = await post.send(lines, "susan@example.com", "hidden@example.com")

    assert mail.content == lines.replace(b"\n", b"\r\n")
    assert mail.envelope_from == SENDER
    assert mail.recipients == ("susan@example.com", "hidden@example.com")


async def test_addresses_and_headers_may_be_utf8(post: Post) -> None:
    content = "Subject: Grüße 🌞\nFrom: Jürgen <jürgen@bücher.example>\n\nJa.\n".encode()

    mail = await post.send(content, "δοκιμή@example.com", sender="jürgen@example.com", options=("SMTPUTF8",))

    assert mail.recipients == ("δοκιμή@example.com",)
    assert mail.summary.subject == "Grüße 🌞"
    assert mail.sender == "Jürgen <jürgen@bücher.example>"


async def test_a_big_mail_is_taken(post: Post) -> None:
    message = letter()
    message.add_attachment(b"\xff" * 20_000_000, maintype="application", subtype="zip", filename="big.zip")

    mail = await post.send(message)

    assert len(mail.content) > 20_000_000


async def test_any_login_is_accepted(post: Post, catcher: Catcher) -> None:
    async with post.client() as client:
        code, _ = await client.login("somebody", "any password")

    assert code == 235


async def test_many_clients_at_once_lose_nothing(post: Post, catcher: Catcher) -> None:
    await asyncio.gather(*(post.send(letter(subject=f"Number {n}")) for n in range(20)))

    assert sorted(mail.summary.subject for mail in catcher.mailbox) == sorted(
        f"Number {n}" for n in range(20)
    )


async def test_stopping_ends_open_connections_and_frees_the_port() -> None:
    catcher = Catcher(port=0)
    await catcher.start()
    client = Post(catcher).client()
    await client.connect()

    await catcher.stop()

    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await client.noop()
    client.close()
    async with Catcher(port=catcher.port) as next_one:
        assert next_one.port == catcher.port


async def test_stopping_twice_or_unstarted_is_harmless() -> None:
    catcher = Catcher()
    await catcher.stop()
    await catcher.start()
    await catcher.stop()
    await catcher.stop()


async def test_a_taken_port_is_reported(catcher: Catcher) -> None:
    with pytest.raises(OSError, match="address already in use"):
        await Catcher(port=catcher.port).start()


async def test_catching_starts_no_thread(post: Post) -> None:
    before = threading.active_count()

    await post.send(letter(), RECIPIENT)

    assert threading.active_count() == before
