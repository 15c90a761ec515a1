"""STARTTLS and implicit TLS against a test authority: valid certificates pass, others fail with the reason."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from app.quart_mail import CertificateError, ConfigurationError, MailError, Message, TlsError, TlsNotOffered
from tests.smtp_server import AiosmtpdServer, SmtpServer

from .certificates import Authority
from .conftest import MakeMail

WAYS = {"starttls": "MAIL_USE_TLS", "implicit": "MAIL_USE_SSL"}
COMPLAINTS = {
    "expired": "has expired",
    "wrong name": "is for a different name: .*localhost",
    "unknown CA": "authority that is not trusted",
    "self-signed": "is self-signed",
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def settings(way: str, authority: Authority, **more: Any) -> dict[str, Any]:
    return {WAYS[way]: True, "MAIL_CA_FILE": str(authority.file), **more}


@pytest.mark.parametrize("way", WAYS)
async def test_a_good_certificate_is_taken(
    make_mail: MakeMail, message: Message, authority: Authority, way: str
) -> None:
    async with AiosmtpdServer(tls=authority.server(), implicit=way == "implicit") as catcher:
        mail = make_mail(catcher.port, **settings(way, authority))
        for _ in range(3):
            await mail.send(message)
        await mail.close()
    assert len({id(session) for session in catcher.sessions}) == 1
    assert catcher.sessions[0].ssl is not None or way == "implicit"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", COMPLAINTS)
async def test_a_bad_certificate_is_a_server_error_that_says_what_is_wrong(
    make_mail: MakeMail, message: Message, authority: Authority, way: str, kind: str
) -> None:
    async with AiosmtpdServer(tls=authority.server(kind), implicit=way == "implicit") as catcher:
        mail = make_mail(catcher.port, **settings(way, authority))
        with pytest.raises(CertificateError, match=COMPLAINTS[kind]) as caught:
            await mail.send(message)
    assert (caught.value.retry, caught.value.scope) == (True, "server")
    assert catcher.envelopes == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_bad_certificate_passes_only_when_checking_is_off(
    make_mail: MakeMail, message: Message, authority: Authority, way: str
) -> None:
    async with AiosmtpdServer(tls=authority.server("self-signed"), implicit=way == "implicit") as catcher:
        given = settings(way, authority, MAIL_VALIDATE_CERTS="0")
        await make_mail(catcher.port, **given).send(message)
    assert len(catcher.envelopes) == 1


async def test_the_systems_authorities_do_not_know_ours(
    make_mail: MakeMail, message: Message, authority: Authority
) -> None:
    async with AiosmtpdServer(tls=authority.server()) as catcher:
        with pytest.raises(CertificateError):
            await make_mail(catcher.port, MAIL_USE_TLS=True).send(message)


async def test_starttls_that_is_not_offered_is_an_error_and_nothing_is_sent(
    make_mail: MakeMail, message: Message, authority: Authority
) -> None:
    async with SmtpServer() as server:
        mail = make_mail(server.port, **settings("starttls", authority))
        with pytest.raises(TlsNotOffered, match="does not offer STARTTLS") as caught:
            await mail.send(message)
    assert caught.value.scope == "server"
    assert server.commands == ["EHLO example.com"]


async def test_what_was_injected_before_tls_is_ignored(
    make_mail: MakeMail, message: Message, authority: Authority
) -> None:
    """Somebody between us and the server offers an unsafe mechanism in front of the handshake."""
    injecting = {"starttls": "220 go ahead\r\n250-test\r\n250 AUTH CRAM-MD5"}
    async with SmtpServer(injecting, tls=authority.server(), auth="PLAIN") as server:
        login = {"MAIL_USERNAME": "me", "MAIL_PASSWORD": "s3cret"}
        await make_mail(server.port, **settings("starttls", authority), **login).send(message)
    assert [command.split()[0] for command in server.commands[:4]] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]
    assert server.commands[3].startswith("AUTH PLAIN ")


@pytest.mark.parametrize("answer", ["454 not now", "hang", "drop", "garbage", "220 but no handshake"])
async def test_a_failed_starttls_is_a_server_error(
    make_mail: MakeMail, message: Message, authority: Authority, answer: str
) -> None:
    script: dict[str, str | list[str]] = {"ehlo": "250-x\r\n250 STARTTLS", "starttls": answer}
    async with SmtpServer(script) as server:
        mail = make_mail(server.port, MAIL_TIMEOUT=30, **settings("starttls", authority))
        sending = asyncio.create_task(mail.send(message))
        if answer == "hang":
            await server.time_out(31)
        with pytest.raises(MailError) as caught:
            await sending
    assert (caught.value.retry, caught.value.scope) == (True, "server")
    assert caught.value.stage == "starttls"
    assert "MAIL" not in " ".join(server.commands)


async def test_implicit_tls_to_a_plain_server_names_the_setting(
    make_mail: MakeMail, message: Message, authority: Authority
) -> None:
    async with SmtpServer() as server:
        with pytest.raises(TlsError, match="MAIL_USE_TLS") as caught:
            await make_mail(server.port, **settings("implicit", authority)).send(message)
    assert not isinstance(caught.value, CertificateError)


async def test_tls_is_not_used_unless_configured(
    make_mail: MakeMail, message: Message, authority: Authority
) -> None:
    async with AiosmtpdServer(tls=authority.server()) as catcher:
        await make_mail(catcher.port, MAIL_USE_TLS="0").send(message)
    assert catcher.sessions[0].ssl is None


async def test_a_client_certificate_is_sent(
    make_mail: MakeMail, message: Message, authority: Authority
) -> None:
    tls = authority.server()
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.ca.configure_trust(tls)
    certificate, key = authority.client_files()
    files = {"MAIL_CLIENT_CERT": certificate, "MAIL_CLIENT_KEY": key}
    async with AiosmtpdServer(tls=tls, implicit=True) as catcher:
        await make_mail(catcher.port, **settings("implicit", authority), **files).send(message)
        with pytest.raises(MailError) as caught:
            await make_mail(catcher.port, **settings("implicit", authority)).send(message)
    assert caught.value.scope == "server"
    assert len(catcher.envelopes) == 1


@pytest.mark.parametrize("key", ["MAIL_CA_FILE", "MAIL_CLIENT_CERT"])
def test_unreadable_files_are_reported_at_start(make_mail: MakeMail, tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigurationError, match=key):
        make_mail(25, MAIL_USE_TLS=True, **{key: str(tmp_path / "missing.pem")})
