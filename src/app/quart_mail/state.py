"""What an app's mail settings are."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from .address import Address, domain_of

TokenSource = str | Callable[[], Awaitable[str]]
"""An OAuth2 access token, or an async callable that returns a fresh one."""


@dataclass
class MailState:
    """An app's mail settings, at ``app.extensions["mail"]``; times are in seconds."""

    server: str = "localhost"
    port: int = 25
    use_tls: bool = False
    use_ssl: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    oauth2_token: TokenSource | None = field(default=None, repr=False)
    allow_cleartext_auth: bool = False
    default_sender: Address | None = None
    debug: bool = False
    max_emails: int | None = None
    suppress: bool = False
    ascii_attachments: bool = False
    timeout: float = 60.0
    data_timeout: float = 600.0
    deadline: float | None = 600.0
    validate_certs: bool = True
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    local_hostname: str | None = None
    message_id_domain: str | None = None
    pool_size: int = 4
    pool_idle: float = 10.0
    tls_context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    @property
    def helo_name(self) -> str:
        """The name given at EHLO: ``MAIL_LOCAL_HOSTNAME``, else the default sender's domain."""
        return self.local_hostname or domain_of(self.default_sender) or "localhost"

    def secrets(self) -> list[str]:
        """Return what must never be logged or shown."""
        token = self.oauth2_token if isinstance(self.oauth2_token, str) else None
        return [secret for secret in (self.password, token) if secret]
