"""Logging in: mechanisms, tokens, and no clear-text password to another machine."""

from __future__ import annotations

import base64
import logging
import socket
from typing import Any

import pytest

from app.quart_mail import CleartextLoginError, ConfigurationError, LoginError, MailError, Message
from tests.smtp_server import AiosmtpdServer, SmtpServer

from .conftest import MakeMail

LOGIN = {"MAIL_USERNAME": "me@example.com", "MAIL_PASSWORD": "right"}


def offering(mechanisms: str, **script: str | list[str]) -> dict[str, str | list[str]]:
    return {"ehlo": f"250-x\r\n250 AUTH {mechanisms}", **script}


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_login_by_each_mechanism_that_is_offered(
    make_mail: MakeMail, message: Message, mechanism: str
) -> None:
    others = {"PLAIN", "LOGIN"} - {mechanism}
    async with AiosmtpdServer(auth=True, auth_exclude_mechanism=others) as catcher:
        await make_mail(catcher.port, **LOGIN).send(message)
    ((used, data),) = catcher.logins
    assert (used, data.login, data.password) == (mechanism, b"me@example.com", b"right")
    assert len(catcher.envelopes) == 1


async def test_cram_md5_never_shows_the_password(make_mail: MakeMail, message: Message) -> None:
    challenge = base64.b64encode(b"<1@x>").decode()
    script = offering("CRAM-MD5", auth=f"334 {challenge}")
    async with SmtpServer(script) as server:
        with pytest.raises(MailError):
            await make_mail(server.port, **LOGIN).send(message)
    assert server.commands[1] == "AUTH CRAM-MD5"
    answer = base64.b64decode(server.commands[2])
    assert answer.startswith(b"me@example.com ")
    assert b"right" not in answer


async def test_a_wrong_password_is_a_server_error_and_tried_once_by_each_mechanism(
    make_mail: MakeMail, message: Message
) -> None:
    async with AiosmtpdServer(auth=True) as catcher:
        mail = make_mail(catcher.port, **(LOGIN | {"MAIL_PASSWORD": "wrong"}))
        with pytest.raises(LoginError) as caught:
            await mail.send(message)
    assert (caught.value.code, caught.value.scope, caught.value.retry) == (535, "server", True)
    assert [mechanism for mechanism, _ in catcher.logins] == ["PLAIN", "LOGIN"]
    assert "wrong" not in caught.value.text


@pytest.mark.parametrize("refusal", ["504 not really", "534 too weak", "535 not this way"])
async def test_a_mechanism_that_is_offered_but_refused_gives_way_to_the_next(
    make_mail: MakeMail, message: Message, refusal: str
) -> None:
    script = offering("PLAIN LOGIN", auth=[refusal, "334 UGFzc3dvcmQ6"])
    async with SmtpServer(script) as server:
        server.script[base64.b64encode(b"right").decode().lower()] = "235 welcome"
        await make_mail(server.port, **LOGIN).send(message)
    assert [c.split()[1] for c in server.commands if c.startswith("AUTH")] == ["PLAIN", "LOGIN"]


@pytest.mark.parametrize(
    ("replies", "said", "tried"),
    [
        (["535 not so", "535 nor so"], "535 nor so", 2),
        (["535 wrong", "drop"], "535 wrong", 2),
        (["454 later", "235 welcome"], "454 later", 1),
        (["drop"], "closed the connection", 1),
    ],
)
async def test_the_last_refusal_is_raised(
    make_mail: MakeMail, message: Message, replies: list[str], said: str, tried: int
) -> None:
    async with SmtpServer(offering("PLAIN LOGIN", auth=replies)) as server:
        with pytest.raises(MailError, match=said) as caught:
            await make_mail(server.port, **LOGIN).send(message)
    assert (caught.value.scope, caught.value.stage) == ("server", "auth")
    assert sum(command.startswith("AUTH") for command in server.commands) == tried


@pytest.mark.parametrize("offered", ["GSSAPI NTLM", ""])
async def test_no_usable_mechanism_is_an_error(make_mail: MakeMail, message: Message, offered: str) -> None:
    async with SmtpServer(offering(offered)) as server:
        with pytest.raises(LoginError, match="offers no usable login mechanism"):
            await make_mail(server.port, **LOGIN).send(message)


@pytest.mark.parametrize("given", [{"MAIL_USERNAME": "me"}, {"MAIL_PASSWORD": "right"}])
async def test_without_both_name_and_password_there_is_no_login(
    make_mail: MakeMail, message: Message, given: dict[str, str]
) -> None:
    async with SmtpServer() as server:
        await make_mail(server.port, **given).send(message)
    assert not any(command.startswith("AUTH") for command in server.commands)


async def fresh_token() -> str:
    return "t0ken"


@pytest.mark.parametrize("token", ["t0ken", fresh_token])
async def test_xoauth2_sends_the_token(make_mail: MakeMail, message: Message, token: Any) -> None:
    async with SmtpServer() as server:
        mail = make_mail(server.port, MAIL_USERNAME="me@example.com", MAIL_OAUTH2_TOKEN=token)
        await mail.send(message)
    _, mechanism, data = server.commands[1].split()
    assert mechanism == "XOAUTH2"
    assert base64.b64decode(data) == b"user=me@example.com\x01auth=Bearer t0ken\x01\x01"


async def test_a_refused_token_is_not_in_the_error(
    make_mail: MakeMail, message: Message, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with SmtpServer({"auth": "535 token t0ken has expired"}) as server:
        given = {"MAIL_USERNAME": "me", "MAIL_OAUTH2_TOKEN": fresh_token, "MAIL_DEBUG": True}
        with pytest.raises(LoginError, match=r"535 token \*\*\* has expired"):
            await make_mail(server.port, **given).send(message)
    assert "535 token *** has expired" in caplog.text
    assert "t0ken" not in caplog.text


async def test_the_challenge_after_a_refused_token_is_answered_by_an_empty_line(
    make_mail: MakeMail, message: Message
) -> None:
    challenge = base64.b64encode(b'{"status":"401"}').decode()
    script: dict[str, str | list[str]] = {"auth": f"334 {challenge}", "": "535 token expired"}
    async with SmtpServer(script) as server:
        mail = make_mail(server.port, MAIL_USERNAME="me", MAIL_OAUTH2_TOKEN="old")
        with pytest.raises(LoginError, match="535 token expired"):
            await mail.send(message)
    assert server.commands[-1] == ""


async def test_an_unavailable_token_is_a_server_error(make_mail: MakeMail, message: Message) -> None:
    async def no_token() -> str:
        raise LookupError("secret details")

    async with SmtpServer() as server:
        mail = make_mail(server.port, MAIL_USERNAME="me", MAIL_OAUTH2_TOKEN=no_token)
        with pytest.raises(LoginError, match="failed to return a token: LookupError") as caught:
            await mail.send(message)
    assert caught.value.scope == "server"
    assert "secret" not in caught.value.text


def test_a_token_needs_a_name(make_mail: MakeMail) -> None:
    with pytest.raises(ConfigurationError, match="not accepted without MAIL_USERNAME"):
        make_mail(MAIL_OAUTH2_TOKEN="t0ken")


def own_address() -> str:
    """Return an address of this machine that others could use; to quart_mail it is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # UDP: nothing is sent
        except OSError:
            pytest.skip("this machine has no address beside loopback")
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("allowed", [False, True])
async def test_no_password_in_clear_text_to_another_machine(
    make_mail: MakeMail, message: Message, allowed: bool
) -> None:
    address = own_address()
    async with SmtpServer(host=address) as server:
        given = {"MAIL_SERVER": address, "MAIL_ALLOW_CLEARTEXT_AUTH": allowed, **LOGIN}
        if allowed:
            await make_mail(server.port, **given).send(message)
        else:
            with pytest.raises(CleartextLoginError, match="MAIL_USE_TLS") as caught:
                await make_mail(server.port, **given).send(message)
            assert caught.value.scope == "server"
    assert any(command.startswith("AUTH") for command in server.commands) is allowed


async def test_mail_debug_logs_the_dialogue_but_not_the_login(
    make_mail: MakeMail, message: Message, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with AiosmtpdServer(auth=True) as catcher:
        mail = make_mail(catcher.port, MAIL_DEBUG=True, **LOGIN)
        await mail.send(message)
    assert "-> RCPT TO:<to@example.com>" in caplog.text
    assert "250 OK number 1" in caplog.text
    ours = "\n".join(r.getMessage() for r in caplog.records if "quart_mail" in r.name)
    for secret in (b"right", b"\0me@example.com\0right"):
        assert base64.b64encode(secret).decode() not in ours
        assert secret.decode() not in ours


async def test_nothing_is_logged_without_mail_debug(
    make_mail: MakeMail, message: Message, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with SmtpServer() as server:
        await make_mail(server.port).send(message)
    assert not [record for record in caplog.records if "quart_mail" in record.name]
