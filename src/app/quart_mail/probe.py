"""A test of the settings: which were used, and what the server replied, in sentences."""

from dataclasses import dataclass
from typing import Any

from .dialogue import Dialogue
from .errors import MailError
from .settings import MailSettings

SUBJECT = "Test of the mail settings"
BODY = "This mail was sent to test the mail settings. It arrived, so they work.\n"


@dataclass
class Probe:
    """The result of a test: the settings, the server's replies and the outcome, one sentence each."""

    sentences: list[str]
    error: MailError | None = None

    @property
    def ok(self) -> bool:
        """Whether the server accepted the message."""
        return self.error is None


def describe(settings: MailSettings) -> list[str]:
    """Return the settings in use as sentences, with their keys and without secrets."""
    sentences = [
        f"The server is {settings.server}, port {settings.port} (MAIL_SERVER, MAIL_PORT).",
        _describe_tls(settings),
        _describe_login(settings),
        f"The sender is {settings.default_sender or 'not set'} (MAIL_DEFAULT_SENDER); "
        f"the EHLO name is {settings.helo_name} (MAIL_LOCAL_HOSTNAME).",
    ]
    if settings.suppress:
        sentences.append("MAIL_SUPPRESS_SEND is on: only this test mail is sent, no other mail of the site.")
    return sentences


def _describe_tls(settings: MailSettings) -> str:
    if not (settings.use_tls or settings.use_ssl):
        return "The connection is not encrypted (MAIL_USE_TLS and MAIL_USE_SSL are off)."
    how = "by STARTTLS (MAIL_USE_TLS)" if settings.use_tls else "from the start (MAIL_USE_SSL)"
    if not settings.validate_certs:
        return f"The connection is encrypted {how}; the certificate is NOT checked."
    file = settings.ca_file
    authorities = f"{file} (MAIL_CA_FILE)" if file else "the system's authorities"
    return f"The connection is encrypted {how}; the certificate is checked against {authorities}."


def _describe_login(settings: MailSettings) -> str:
    if not settings.has_login:
        return "There is no login (MAIL_USERNAME and MAIL_PASSWORD are not both set)."
    token = settings.oauth2_token
    secret = "an OAuth2 token (MAIL_OAUTH2_TOKEN)" if token else "MAIL_PASSWORD"
    return f"The login is {settings.username} (MAIL_USERNAME) with {secret}."


def describe_connection(dialogue: Dialogue) -> list[str]:
    """Return sentences about how the connection was opened."""
    peer: Any = dialogue.client.get_transport_info("peername")
    cipher: Any = dialogue.client.get_transport_info("cipher")
    sentences = [f"Connected to {peer[0]}; the server's greeting: {dialogue.greeting}"]
    if cipher:
        sentences.append(f"Encrypted with {cipher[1]}, {cipher[0]}.")
    if dialogue.mechanism:
        sentences.append(f"Logged in with {dialogue.mechanism}.")
    return sentences
