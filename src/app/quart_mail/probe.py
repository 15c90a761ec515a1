"""Test the settings: report, in sentences, which were used and what the server replied."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from .address import Address
from .connect import open_session
from .dispatch import SendRequest, make_transaction
from .errors import MailError
from .message import Message
from .session import SendResult, Session, wait_closed
from .settings import MailSettings

SUBJECT = "Test of the mail settings"
BODY = "This mail was sent to test the mail settings. It arrived, so they work.\n"


@dataclass
class Probe:
    """The result of a test of the settings; ``sentences`` reports all of it.

    ``settings``: the settings used. ``answers``: the server's replies, step by step. ``result``: the
    reply to the message, or None if there was an ``error``. ``seconds``: how long it took.
    """

    settings: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    result: SendResult | None = None
    error: MailError | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the server accepted the message."""
        return self.result is not None

    @property
    def sentences(self) -> list[str]:
        """The settings, the replies and the result, one sentence each."""
        return [*self.settings, *self.answers, *self._end()]

    def _end(self) -> list[str]:
        if self.error is not None:
            return [f"Not sent: {self.error.text}"]
        assert self.result is not None  # noqa: S101 - without an error there is a result
        reply = f"{self.result.code} {self.result.text}"
        return [f"Sent in {self.seconds:.1f} s; the server replied: {reply}"]


async def probe(state: MailSettings, recipient: Address) -> Probe:
    """Send a test mail over a new connection, even if sending is suppressed.

    A MailError is returned in the result, not raised.
    """
    report = Probe(settings=describe(state))
    start = time.monotonic()
    session: Session | None = None
    try:
        transaction = make_transaction(state, SendRequest(Message(SUBJECT, [recipient], BODY)))
        session = await open_session(state, transaction.progress, state.timeout)
        report.answers = describe_session(session)
        report.result = await session.send(transaction)
    except MailError as error:
        report.error = error
    finally:
        if session is not None:
            session.quit()
            await wait_closed()
    report.seconds = time.monotonic() - start
    return report


def describe(state: MailSettings) -> list[str]:
    """Return the settings in use as sentences, with their keys and without secrets."""
    sentences = [
        f"The server is {state.server}, port {state.port} (MAIL_SERVER, MAIL_PORT).",
        _describe_tls(state),
        _describe_login(state),
        f"The sender is {state.default_sender or 'not set'} (MAIL_DEFAULT_SENDER); "
        f"the EHLO name is {state.helo_name} (MAIL_LOCAL_HOSTNAME).",
    ]
    if state.suppress:
        sentences.append(
            "MAIL_SUPPRESS_SEND is on: only this test mail is sent, no other mail of the site."
        )
    return sentences


def _describe_tls(state: MailSettings) -> str:
    if not (state.use_tls or state.use_ssl):
        return "The connection is not encrypted (MAIL_USE_TLS and MAIL_USE_SSL are off)."
    how = "by STARTTLS (MAIL_USE_TLS)" if state.use_tls else "from the start (MAIL_USE_SSL)"
    if not state.validate_certs:
        return f"The connection is encrypted {how}; the certificate is NOT checked."
    authorities = f"{state.ca_file} (MAIL_CA_FILE)" if state.ca_file else "the system's authorities"
    return f"The connection is encrypted {how}; the certificate is checked against {authorities}."


def _describe_login(state: MailSettings) -> str:
    if not state.username or not (state.password or state.oauth2_token):
        return "There is no login (MAIL_USERNAME and MAIL_PASSWORD are not both set)."
    secret = "an OAuth2 token (MAIL_OAUTH2_TOKEN)" if state.oauth2_token else "MAIL_PASSWORD"
    return f"The login is {state.username} (MAIL_USERNAME) with {secret}."


def describe_session(session: Session) -> list[str]:
    """Return sentences about how the connection was opened."""
    info = session.client.get_transport_info
    peer: Any = info("peername")
    sentences = [f"Connected to {peer[0]}; the server's greeting: {session.greeting}"]
    cipher: Any = info("cipher")
    if cipher:
        sentences.append(f"Encrypted with {cipher[1]}, {cipher[0]}.")
    if session.mechanism:
        sentences.append(f"Logged in with {session.mechanism}.")
    return sentences
