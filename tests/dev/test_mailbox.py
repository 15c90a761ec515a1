"""The mailbox is bounded, numbers its mails, and can be waited for."""

from __future__ import annotations

import asyncio

import pytest

from app.dev.mailbox import Mailbox


def add(mailbox: Mailbox, subject: str, size: int = 0) -> int:
    return mailbox.add(
        "a@example.com", ("b@example.com",), f"Subject: {subject}\n\n".encode() + b"x" * size
    ).id


def subjects(mailbox: Mailbox) -> list[str]:
    return [mail.summary.subject for mail in mailbox]


def test_the_newest_is_first() -> None:
    mailbox = Mailbox()
    for name in ("one", "two", "three"):
        add(mailbox, name)

    assert subjects(mailbox) == ["three", "two", "one"]


def test_beyond_the_number_the_oldest_go() -> None:
    mailbox = Mailbox(max_mails=2)
    for name in ("one", "two", "three"):
        add(mailbox, name)

    assert subjects(mailbox) == ["three", "two"]
    assert mailbox.find("1") is None


def test_beyond_the_bytes_the_oldest_go_but_the_newest_stays() -> None:
    mailbox = Mailbox(max_bytes=1000)
    add(mailbox, "one", 400)
    add(mailbox, "two", 400)
    add(mailbox, "three", 400)
    assert subjects(mailbox) == ["three", "two"]

    add(mailbox, "huge", 5000)
    assert subjects(mailbox) == ["huge"]

    add(mailbox, "small", 10)
    assert subjects(mailbox) == ["small"]


@pytest.mark.parametrize(
    "number", ["0", "2", "-1", "01", "1_0", "\N{ARABIC-INDIC DIGIT ONE}", "1" * 5000, "one", ""]
)
def test_only_its_own_number_finds_a_mail(number: str) -> None:
    mailbox = Mailbox()
    add(mailbox, "one")

    assert mailbox.find("1") is not None
    assert mailbox.find(number) is None


async def test_waiting_ends_with_the_next_mail() -> None:
    mailbox = Mailbox()
    seen = add(mailbox, "old")
    waiters = [asyncio.create_task(mailbox.wait(after=seen)) for _ in range(3)]
    await asyncio.sleep(0)

    add(mailbox, "new")

    assert {mail.summary.subject for mail in await asyncio.gather(*waiters)} == {"new"}


async def test_waiting_gives_mails_in_order_without_gaps() -> None:
    mailbox = Mailbox()
    first, second = add(mailbox, "first"), add(mailbox, "second")

    assert (await mailbox.wait()).id == first
    assert (await mailbox.wait(after=first)).id == second


async def test_waiting_in_vain_times_out() -> None:
    with pytest.raises(TimeoutError):
        await Mailbox().wait(timeout=0.01)
