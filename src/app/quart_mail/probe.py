"""Trying the settings out: which were used, and what the server answered, in sentences."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from .address import Address
from .dialogue import sockets_closed
from .dispatch import Order, make_job
from .errors import MailError
from .message import Message
from .opening import open_session
from .session import SendResult, Session
from .settings import MailState

SUBJECT = "Test of the mail settings"
BODY = "This mail was sent to try out the mail settings. That it arrived says that they work.\n"


@dataclass
class Probe:
    """What a try of the settings gave; ``sentences`` is all of it for people.

    ``settings``: what was used. ``answers``: what the server did, step by step. ``result``: its
    reply to the message, or None with the ``error`` that came instead. ``seconds``: how long.
    """

    settings: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    result: SendResult | None = None
    error: MailError | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Say whether the server took the message."""
        return self.result is not None

    @property
    def sentences(self) -> list[str]:
        """Return the settings, the answers and how it ended, a sentence each."""
        return [*self.settings, *self.answers, *self._end()]

    def _end(self) -> list[str]:
        if self.error is not None:
            return [f"Not sent: {self.error.text}"]
        assert self.result is not None  # noqa: S101 - either of the two is there
        took = f"{self.result.code} {self.result.text}"
        return [f"Sent in {self.seconds:.1f} s; the server answered: {took}"]


async def probe(state: MailState, recipient: Address) -> Probe:
    """Send a test mail over a connection of its own, also when sending is suppressed.

    Raises nothing of the mail's own: a MailError is in the result.
    """
    found = Probe(settings=describe(state))
    begun = time.monotonic()
    session: Session | None = None
    try:
        job = make_job(state, Order(Message(SUBJECT, [recipient], BODY)))
        session = await open_session(state, job.progress, state.timeout)
        found.answers = describe_session(session)
        found.result = await session.send(job)
    except MailError as error:
        found.error = error
    finally:
        if session is not None:
            session.quit()
            await sockets_closed()
    found.seconds = time.monotonic() - begun
    return found


def describe(state: MailState) -> list[str]:
    """Return the settings in use as sentences, naming the keys and no secret."""
    sentences = [
        f"The server is {state.server}, port {state.port} (MAIL_SERVER, MAIL_PORT).",
        _describe_tls(state),
        _describe_login(state),
        f"The sender is {state.default_sender or 'not set'} (MAIL_DEFAULT_SENDER); "
        f"this machine calls itself {state.helo_name} (MAIL_LOCAL_HOSTNAME).",
    ]
    if state.suppress:
        sentences.append(
            "MAIL_SUPPRESS_SEND is on: the site itself sends nothing; this test mail is sent."
        )
    return sentences


def _describe_tls(state: MailState) -> str:
    if not (state.use_tls or state.use_ssl):
        return "The connection is not encrypted (MAIL_USE_TLS and MAIL_USE_SSL are off)."
    how = "by STARTTLS (MAIL_USE_TLS)" if state.use_tls else "from the first byte (MAIL_USE_SSL)"
    if not state.validate_certs:
        return f"The connection is encrypted {how}; the certificate is NOT checked."
    trusted = f"against {state.ca_file} (MAIL_CA_FILE)" if state.ca_file else "as the system does"
    return f"The connection is encrypted {how}; the certificate is checked {trusted}."


def _describe_login(state: MailState) -> str:
    if not state.username or not (state.password or state.oauth2_token):
        return "There is no login (MAIL_USERNAME and MAIL_PASSWORD are not both set)."
    by = "an OAuth2 token (MAIL_OAUTH2_TOKEN)" if state.oauth2_token else "MAIL_PASSWORD"
    return f"The login is {state.username} (MAIL_USERNAME) with {by}."


def describe_session(session: Session) -> list[str]:
    """Return what happened while the connection was opened, as sentences."""
    info = session.client.get_transport_info
    peer: Any = info("peername")
    sentences = [f"Connected to {peer[0]}; the server greeted: {session.greeting}"]
    cipher: Any = info("cipher")
    if cipher:
        sentences.append(f"Encrypted by {cipher[1]}, {cipher[0]}.")
    if session.mechanism:
        sentences.append(f"Logged in by {session.mechanism}.")
    return sentences
