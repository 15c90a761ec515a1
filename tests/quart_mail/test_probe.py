"""Testing the settings: the report for the operator."""

from __future__ import annotations

from pathlib import Path

from tests.smtp_server import AiosmtpdServer, SmtpServer

from .certificates import Authority
from .conftest import MakeMail


async def test_a_working_server_is_described(make_mail: MakeMail, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with AiosmtpdServer(tls=authority.server(), auth=True) as catcher:
        mail = make_mail(
            catcher.port,
            MAIL_USE_TLS=True,
            MAIL_CA_FILE=str(authority.file),
            MAIL_USERNAME="me",
            MAIL_PASSWORD="right",
            MAIL_SUPPRESS_SEND=True,
        )
        probe = await mail.probe("ann@example.com")
    told = "\n".join(probe.sentences)
    assert probe.ok
    assert f"The server is localhost, port {catcher.port} (MAIL_SERVER, MAIL_PORT)." in told
    assert "encrypted by STARTTLS (MAIL_USE_TLS); the certificate is checked against" in told
    assert "The login is me (MAIL_USERNAME) with MAIL_PASSWORD." in told
    assert "MAIL_SUPPRESS_SEND is on" in told
    assert "Connected to 127.0.0.1; the server's greeting: 220 test" in told
    assert "Encrypted with TLSv1.3" in told
    assert "Logged in with PLAIN." in told
    assert probe.sentences[-1].endswith("the server replied: 250 OK number 1")
    assert "right" not in told
    assert catcher.envelopes[0].rcpt_tos == ["ann@example.com"]
    assert catcher.parsed()["Subject"] == "Test of the mail settings"


async def test_a_refusal_is_described(make_mail: MakeMail) -> None:
    async with SmtpServer({"rcpt": "550 no such user"}) as server:
        probe = await make_mail(server.port).probe("ann@example.com")
    assert not probe.ok
    assert "The connection is not encrypted" in probe.sentences[1]
    assert "There is no login" in probe.sentences[2]
    assert probe.sentences[-1].startswith("Not sent: The mail server refused the recipient: 550")
    assert "550 no such user" in probe.sentences[-1]


async def test_a_refused_sender_is_described_with_the_setting_to_change(make_mail: MakeMail) -> None:
    async with SmtpServer({"mail": "553 5.7.1 not yours"}) as server:
        probe = await make_mail(server.port).probe("ann@example.com")
    assert probe.sentences[-1] == (
        "Not sent: The mail server refused the sender support@example.com. Set MAIL_DEFAULT_SENDER to an "
        "address that it accepts from this machine. It replied: 553 5.7.1 not yours"
    )


async def test_an_absent_server_is_described(make_mail: MakeMail) -> None:
    async with SmtpServer({"greeting": "554 not you"}) as server:
        probe = await make_mail(server.port).probe("ann@example.com")
    assert probe.error is not None
    assert probe.error.scope == "server"
    assert "554 not you" in probe.sentences[-1]
