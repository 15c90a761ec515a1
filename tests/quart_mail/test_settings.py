"""Every MAIL_* setting: its default, accepted values, and the error for others."""

from __future__ import annotations

from typing import Any

import pytest

from app.quart_mail import ConfigurationError, MailSettings, Message
from app.quart_mail.settings import read_settings
from tests.smtp_server import SmtpServer

from .conftest import MakeMail


def test_the_defaults() -> None:
    assert read_settings({}) == MailSettings(
        server="localhost",
        port=25,
        timeout=60,
        data_timeout=600,
        deadline=600,
        pool_size=4,
        pool_idle=10,
        validate_certs=True,
    )
    assert read_settings({}, debug=True).debug
    assert read_settings({}, testing=True).suppress


@pytest.mark.parametrize("word", ["1", "true", "YES", "On", True, 1])
def test_true_in_its_notations(word: Any) -> None:
    assert read_settings({"MAIL_ASCII_ATTACHMENTS": word}).ascii_attachments


@pytest.mark.parametrize("word", ["0", "False", "no", "OFF", "", False, 0, None])
def test_false_in_its_notations(word: Any) -> None:
    state = read_settings({"MAIL_USE_TLS": word, "MAIL_SUPPRESS_SEND": word})
    assert (state.use_tls, state.suppress) == (False, False)


def test_mail_hostname_is_an_alias_and_mail_server_wins() -> None:
    assert read_settings({"MAIL_HOSTNAME": "a.example"}).server == "a.example"
    both = {"MAIL_HOSTNAME": "a.example", "MAIL_SERVER": "b.example"}
    assert read_settings(both).server == "b.example"


def test_text_from_the_environment_is_read_as_numbers() -> None:
    state = read_settings({"MAIL_PORT": "587", "MAIL_TIMEOUT": "2.5", "MAIL_MAX_EMAILS": "7"})
    assert (state.port, state.timeout, state.max_emails) == (587, 2.5, 7)
    assert read_settings({"MAIL_MAX_EMAILS": None}).max_emails is None
    assert read_settings({"MAIL_MAX_EMAILS": "0"}).max_emails is None


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("MAIL_PORT", "smtp", "a whole number from 1 to 65535"),
        ("MAIL_PORT", 70000, "a whole number from 1 to 65535"),
        ("MAIL_USE_TLS", "maybe", "1, true, yes or on, or 0, false, no or off"),
        ("MAIL_TIMEOUT", "soon", "a number of seconds above 0"),
        ("MAIL_DEADLINE", 0, "a number of seconds above 0"),
        ("MAIL_POOL_SIZE", 0, "a whole number from 1"),
        ("MAIL_POOL_IDLE", "nan", "a number of seconds above 0"),
        ("MAIL_DEFAULT_SENDER", "not an address", "an email address"),
        ("MAIL_LOCAL_HOSTNAME", "a b", "a domain name"),
        ("MAIL_MESSAGE_ID_DOMAIN", "a\nb", "a domain name"),
        ("MAIL_SERVER", "a b", "a host name or an IP address"),
        ("MAIL_HOSTNAME", "http://mx", "a host name or an IP address"),
        ("MAIL_CA_FILE", "/nope", "a readable file of certificates in PEM (No such file or directory)"),
        ("MAIL_CLIENT_CERT", "/nope", "readable files in PEM that belong together (No such file or directory)"),
    ],
)  # fmt: skip
def test_an_error_names_the_key_the_value_and_what_is_expected(key: str, value: Any, wanted: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings({key: value})
    assert caught.value.text == f"{key}: {value!r} is not accepted; give {wanted}."


def test_a_client_key_alone_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not accepted without MAIL_CLIENT_CERT"):
        read_settings({"MAIL_CLIENT_KEY": "/key.pem"})


@pytest.mark.parametrize(
    ("given", "server"),
    [
        ("::1", "::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("mail_catcher", "mail_catcher"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_server_is_a_name_or_an_address(given: str, server: str) -> None:
    assert read_settings({"MAIL_SERVER": given}).server == server


def test_a_state_never_shows_its_secrets() -> None:
    shown = repr(read_settings({"MAIL_PASSWORD": "s3cret", "MAIL_USERNAME": "me"}))
    assert "s3cret" not in shown


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "example.com"),
        ({"MAIL_LOCAL_HOSTNAME": "web1.example.net"}, "web1.example.net"),
        ({"MAIL_DEFAULT_SENDER": None}, "localhost"),
        ({"MAIL_DEFAULT_SENDER": ("Ä", "a@bücher.example")}, "xn--bcher-kva.example"),
    ],
)
async def test_the_name_given_at_ehlo(
    make_mail: MakeMail, message: Message, given: dict[str, Any], name: str
) -> None:
    async with SmtpServer() as server:
        await make_mail(server.port, **given).send(message)
    assert server.commands[0] == f"EHLO {name}"


async def test_the_message_ids_domain(make_mail: MakeMail) -> None:
    mail = make_mail(TESTING=True, MAIL_MESSAGE_ID_DOMAIN="ids.example")
    message = Message("s", ["to@example.com"])
    await mail.send(message)
    assert message.msgId.endswith("@ids.example>")
    given = Message("s", ["to@example.com"], sender="me@other.example")
    assert given.msgId.endswith("@other.example>")
