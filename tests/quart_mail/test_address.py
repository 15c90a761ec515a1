"""Addresses as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from app.quart_mail import BadAddressError
from app.quart_mail.address import as_text, envelope, mailbox


@pytest.mark.parametrize(
    ("written", "name", "spec"),
    [
        ("ann@example.com", "", "ann@example.com"),
        ("  <ann@example.com> ", "", "ann@example.com"),
        ("Ann <ann@example.com>", "Ann", "ann@example.com"),
        ("Ann Example<ann@example.com>", "Ann Example", "ann@example.com"),
        ("Ann <ann@example.com> (home)", "Ann", "ann@example.com"),
        ("ann@example.com (Ann)", "Ann", "ann@example.com"),
        (("Ann", "ann@example.com"), "Ann", "ann@example.com"),
        (("", "ann@example.com"), "", "ann@example.com"),
        ('"A \\"B\\" C" <ann@example.com>', 'A "B" C', "ann@example.com"),
        ("Dr. O'Hara (x) <o'hara+tag@example.com>", "Dr. O'Hara (x)", "o'hara+tag@example.com"),
        ('"john doe"@example.com', "", '"john doe"@example.com'),
        ("root", "", "root"),
        ("me@[127.0.0.1]", "", "me@[127.0.0.1]"),
        ("me@under_score.example", "", "me@under_score.example"),
    ],
)
def test_an_address_is_read(written: Any, name: str, spec: str) -> None:
    assert mailbox(written) == (name, spec)


@pytest.mark.parametrize(
    "written",
    [
        "", "@", "a@", "@b.de", "a b@c.de", "a@b c.de", "a@b.de>x", "a@b@c.de", "<a@b.de", "a@-b.de",
        "a@b.de SIZE=1", "a@b.de> SIZE=1 <", "a@b.de,c@d.de", "a@\u2028.de", "a@.", "a\xa0b@c.de",
        "a@" + "ü" * 300 + ".de", ("Ann", ""), ("Ann", "a@b.de>\r\nRCPT TO:<c@d.de"),
    ],
)  # fmt: skip
def test_invalid_addresses_are_refused(written: Any) -> None:
    with pytest.raises(BadAddressError):
        mailbox(written)


@pytest.mark.parametrize(
    "pair", [("Ann", "a@b.de"), ("Doe, John", "a@b.de"), ("Ä <b@c.de>", "a@b.de"), ('q"q\\', "a@b.de")]
)
def test_a_pair_as_text_is_read_back(pair: tuple[str, str]) -> None:
    assert mailbox(as_text(pair)) == pair


def test_the_envelope_has_each_address_once_in_order() -> None:
    given: list[str | tuple[str, str]] = ["b@x.de", ("B", "b@X.DE"), "B@x.de", "a@x.de", "b@x.de"]
    assert envelope(given) == ["b@x.de", "B@x.de", "a@x.de"]
