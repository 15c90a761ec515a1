"""Each failure at each stage becomes the right MailError."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.quart_mail import (
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    DataRefused,
    GreetingRefused,
    LoginError,
    Mail,
    MailError,
    Message,
    NonsenseReply,
    RecipientsRefused,
    ReplyTimeout,
    SenderRefused,
    SendResult,
    ServiceUnavailable,
    UnknownHost,
    errors,
)
from tests.smtp_server import SmtpServer

from .conftest import MakeMail, make_app

FAULTS = ("450 \x1bnot now", "550 5.1.1 never", "421 closing", "hang", "drip", "drop", "garbage")
REFUSED: dict[str, type[MailError]] = {
    "greeting": GreetingRefused,
    "ehlo": GreetingRefused,
    "auth": LoginError,
    "mail": SenderRefused,
    "rcpt": RecipientsRefused,
    "data": DataRefused,
    "dot": DataRefused,
}
BROKEN: dict[str, type[MailError]] = {
    "hang": ReplyTimeout,
    "drip": ReplyTimeout,
    "drop": ConnectionLost,
    "garbage": NonsenseReply,
}
OPENING = {"greeting", "ehlo", "auth"}


def expected(stage: str, fault: str) -> tuple[type[MailError], bool, str, bool]:
    """(type, retry, scope, in_doubt)."""
    scope = "server" if stage in OPENING else "message"
    if fault.startswith("421"):
        return ServiceUnavailable, True, "server", False
    if fault in BROKEN:
        return BROKEN[fault], True, scope, stage == "dot"
    return REFUSED[stage], scope == "server" or fault.startswith("4"), scope, False


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stage", REFUSED)
async def test_each_fault_at_each_stage_raises_the_right_error(
    make_mail: MakeMail, message: Message, stage: str, fault: str
) -> None:
    script: dict[str, str | list[str]] = {stage: fault}
    if stage == "ehlo" and fault.startswith("5"):
        script["helo"] = fault
    async with SmtpServer(script) as server:
        mail = make_mail(server.port, MAIL_TIMEOUT=30, MAIL_DATA_TIMEOUT=30, **login_for(stage))
        sending = asyncio.create_task(mail.send(message))
        if fault in {"hang", "drip"}:
            await server.time_out(31)
        with pytest.raises(MailError) as caught:
            await sending
    error = caught.value
    kind, retry, scope, in_doubt = expected(stage, fault)
    assert type(error) is kind
    assert (error.retry, error.scope, error.in_doubt, error.stage) == (retry, scope, in_doubt, stage)
    assert error.code == (int(fault[:3]) if fault[0].isdigit() else None)
    assert error.text.isprintable()


def login_for(stage: str) -> dict[str, str]:
    return {"MAIL_USERNAME": "me", "MAIL_PASSWORD": "right"} if stage == "auth" else {}


async def test_a_refused_connection_is_a_server_error(make_mail: MakeMail, message: Message) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        mail = make_mail(taken.getsockname()[1])
        with pytest.raises(ConnectError) as caught:
            await mail.send(message)
    assert (caught.value.retry, caught.value.scope) == (True, "server")
    assert ": connection refused" in caught.value.text
    assert isinstance(caught.value, ConnectionError)


async def test_a_name_that_does_not_resolve(make_mail: MakeMail, message: Message) -> None:
    mail = make_mail(25, MAIL_SERVER="no-such-host.invalid")
    with pytest.raises(UnknownHost, match=r"no-such-host\.invalid:25 does not resolve") as caught:
        await mail.send(message)
    assert (caught.value.retry, caught.value.scope) == (True, "server")


@pytest.mark.parametrize("code", [530, 535])
async def test_a_login_required_at_mail_from_is_a_server_error(
    make_mail: MakeMail, message: Message, code: int
) -> None:
    async with SmtpServer({"mail": f"{code} log in first"}) as server:
        with pytest.raises(LoginError) as caught:
            await make_mail(server.port).send(message)
    assert (caught.value.scope, caught.value.code) == ("server", code)


@pytest.mark.parametrize("code", [550, 553, 554])
@pytest.mark.parametrize("login", [{}, {"MAIL_USERNAME": "me", "MAIL_PASSWORD": "right"}])
async def test_a_refused_default_sender_concerns_every_message(
    make_mail: MakeMail, code: int, login: dict[str, str]
) -> None:
    async with SmtpServer({"mail": f"{code} 5.7.1 not yours " + "x" * 600}) as server:
        with pytest.raises(SenderRefused) as caught:
            await make_mail(server.port, **login).send(Message("s", ["bob@example.com"], "b"))
    error = caught.value
    assert (error.scope, error.retry, error.code) == ("server", True, code)
    assert "refused the sender support@example.com. Set MAIL_DEFAULT_SENDER to " in error.text
    assert ("MAIL_USERNAME" in error.text) is bool(login)
    assert f"It replied: {code} 5.7.1 not yours" in error.text


@pytest.mark.parametrize(
    ("change", "reply"),
    [
        ({"sender": "ann@example.com"}, "553 not yours"),
        ({"mail_options": ["BODY=8BITMIME"]}, "550 what?"),
        ({}, "552 too large"),
        ({}, "555 what is SIZE?"),
    ],
)
async def test_a_refused_sender_or_size_is_an_error_of_one_message(
    make_mail: MakeMail, change: dict[str, Any], reply: str
) -> None:
    async with SmtpServer({"mail": reply}) as server:
        with pytest.raises(SenderRefused) as caught:
            await make_mail(server.port).send(Message("s", ["bob@example.com"], "b", **change))
    assert (caught.value.scope, caught.value.retry) == ("message", False)


async def test_helo_is_sent_to_a_server_without_ehlo(make_mail: MakeMail, message: Message) -> None:
    async with SmtpServer({"ehlo": "502 what?"}) as server:
        result = await make_mail(server.port).send(message)
    assert (result.code, result.text) == (250, "taken")
    assert server.commands[:2] == ["EHLO example.com", "HELO example.com"]


async def test_mixed_refusals_of_all_recipients_can_be_tried_again(make_mail: MakeMail) -> None:
    script: dict[str, str | list[str]] = {"rcpt": ["550 gone", "451 later"]}
    async with SmtpServer(script) as server:
        with pytest.raises(RecipientsRefused) as caught:
            await make_mail(server.port).send(Message("s", ["a@example.com", "b@example.com"], "b"))
    assert caught.value.retry
    assert caught.value.refused == {"a@example.com": (550, "gone"), "b@example.com": (451, "later")}


async def test_a_servers_text_is_escaped_shortened_and_shows_no_password(
    make_mail: MakeMail, message: Message
) -> None:
    reply = "535 \x1b[31m s3cret " + "x" * 5000
    async with SmtpServer({"auth": reply}) as server:
        mail = make_mail(server.port, MAIL_USERNAME="me", MAIL_PASSWORD="s3cret")
        with pytest.raises(LoginError) as caught:
            await mail.send(message)
    assert "\\x1b[31m *** x" in caught.value.text
    assert len(caught.value.text) < 600


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "XOAUTH2"])
@pytest.mark.parametrize("reply", ["535 5.5.2 not understood: {}", "what is {}?"])
async def test_a_login_that_the_server_quotes_as_it_was_sent_is_hidden(
    make_mail: MakeMail, message: Message, mechanism: str, reply: str
) -> None:
    """Also in a line that is no reply of SMTP."""
    forms = ("s3cret", "\0me\0s3cret", "user=me\x01auth=Bearer s3cret\x01\x01")
    encoded = [b64encode(form.encode()).decode() for form in forms]
    quoting = reply.format(" ".join(["s3cret", *encoded]))
    kind = "MAIL_OAUTH2_TOKEN" if mechanism == "XOAUTH2" else "MAIL_PASSWORD"
    async with SmtpServer({"auth": quoting}, auth=mechanism) as server:
        with pytest.raises(MailError) as caught:
            await make_mail(server.port, **{"MAIL_USERNAME": "me", kind: "s3cret"}).send(message)
    assert "*** *** *** ***" in caught.value.text
    cause: BaseException | None = caught.value
    while cause is not None:
        assert not any(secret in repr(cause) for secret in ("s3cret", *encoded))
        cause = cause.__cause__


async def test_a_reply_that_never_ends_is_nonsense(make_mail: MakeMail, message: Message) -> None:
    endless = "\r\n".join(["250-more"] * 6000)
    async with SmtpServer({"mail": endless}) as server:
        with pytest.raises(NonsenseReply):
            await make_mail(server.port).send(message)


async def test_a_message_that_cannot_be_sent_never_reaches_the_server(
    scripted: SmtpServer, make_mail: MakeMail
) -> None:
    mail = make_mail(scripted.port)
    for bad in (Message("s", ["not an address"]), Message("s\n", ["a@b.de"]), Message("s")):
        with pytest.raises(MailError) as caught:
            await mail.send(bad)
        assert (caught.value.retry, caught.value.scope) == (False, "message")
    assert scripted.connections == 0


def test_every_leaf_class_says_whether_to_retry_and_who_is_at_fault() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    tree = [kind for kind in kinds if issubclass(kind, MailError)]
    assert len(tree) > 20
    for kind in tree:
        assert isinstance(kind.retry, bool), kind
        assert kind.scope in {"message", "server"}, kind


def test_a_configuration_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="MAIL_USE_TLS and MAIL_USE_SSL are both on"):
        Mail().init_mail({"MAIL_USE_TLS": True, "MAIL_USE_SSL": "yes"})
    assert issubclass(ConfigurationError, MailError)


STAGES = ["greeting", "ehlo", "helo", "auth", "mail", "rcpt", "data", "dot", "rset"]
CODES = st.sampled_from(["220", "235", "250", "251", "334", "354", "421", "450", "550", "999", "-25"])
LINE = st.builds(
    lambda code, mark, text: code + mark + text, CODES, st.sampled_from(" -"), st.text(max_size=20)
)
ANSWER = LINE | st.text(max_size=40) | st.lists(LINE, max_size=4).map("\r\n".join) | st.just("drop")
OFFERS = st.sampled_from(["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "PLAIN CRAM-MD5", ""])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=st.dictionaries(st.sampled_from(STAGES), ANSWER, max_size=2), offers=OFFERS)
def test_any_answers_end_in_a_result_or_a_mail_error(script: dict[str, str], offers: str) -> None:
    asyncio.run(send_twice({"ehlo": f"250-x\r\n250 AUTH {offers}", **script}))


async def send_twice(script: dict[str, str]) -> None:
    login = {"MAIL_USERNAME": "me", "MAIL_PASSWORD": "secret"}
    times = {"MAIL_TIMEOUT": 0.05, "MAIL_DATA_TIMEOUT": 0.05}
    async with SmtpServer(dict(script)) as server:
        mail = Mail(make_app(MAIL_PORT=server.port, **login, **times))
        for _ in range(2):
            outcome = await one_sending(mail)
            if isinstance(outcome, SendResult):
                assert outcome.code is not None
                assert outcome.code // 100 == 2
            else:
                assert outcome.text.isprintable()
                assert "secret" not in outcome.text
        await mail.close()
        assert mail.pool.in_use == mail.pool.idle == 0


async def one_sending(mail: Mail) -> SendResult | MailError:
    try:
        return await mail.send(Message("s", ["to@example.com"], "b"))
    except MailError as error:
        return error
