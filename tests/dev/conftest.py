"""A catcher on a free port, and the site that shows its mails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import pytest
from quart import Quart, Response

from app.dev import routes
from app.dev.catcher import Catcher
from app.dev.mailbox import CaughtMail

SENDER = "noreply@example.com"
RECIPIENT = "susan@example.com"


@pytest.fixture
def database_kind() -> str:
    """The inbox does not use the database, so one kind is enough."""
    return "sqlite"


@pytest.fixture
async def catcher() -> AsyncIterator[Catcher]:
    """A running catcher."""
    async with Catcher(port=0) as running:
        yield running


class Post:
    """Sends mail to the catcher over SMTP."""

    def __init__(self, catcher: Catcher) -> None:
        self.catcher = catcher

    def client(self) -> aiosmtplib.SMTP:
        """A client for the catcher, not connected."""
        return aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self.catcher.port, start_tls=False, local_hostname="localhost"
        )

    async def send(
        self, content: bytes | EmailMessage, *to: str, sender: str = SENDER, options: tuple[str, ...] = ()
    ) -> CaughtMail:
        """Send `content` and return what was caught."""
        data = content if isinstance(content, bytes) else bytes(content)
        before = self.catcher.mailbox.newest_id
        async with self.client() as client:
            await client.sendmail(
                sender, list(to or (RECIPIENT,)), data.replace(b"\n", b"\r\n"), mail_options=options
            )
        return await self.catcher.mailbox.wait(after=before, timeout=60)


@pytest.fixture
def post(catcher: Catcher) -> Post:
    """A function that sends mail to the catcher."""
    return Post(catcher)


class Visitor:
    """Requests pages, from this machine unless `peer` is another address."""

    def __init__(self, app: Quart) -> None:
        self.client = app.test_client()

    async def get(self, path: str, *, peer: str = "127.0.0.1", **headers: str) -> Response:
        """Return the answer to a GET."""
        scope: dict[str, Any] = {"client": (peer, 40000)}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(path, scope_base=scope, headers=named)

    async def page(self, path: str) -> str:
        """Return the text of a page that must exist."""
        response = await self.get(path)
        assert response.status_code == 200
        return await response.get_data(as_text=True)


@pytest.fixture
def visitor(app: Quart, catcher: Catcher) -> Visitor:
    """A visitor of the site whose mail goes to the catcher."""
    routes.init_app(app, catcher.mailbox)
    return Visitor(app)


def letter(
    *, subject: str = "A word", text: str | None = "Hello, Susan.\n", html: str | None = None
) -> EmailMessage:
    """A mail such as a mail program sends."""
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = f"Microblog <{SENDER}>"
    message["To"] = f"Susan <{RECIPIENT}>"
    if text is not None:
        message.set_content(text)
        if html is not None:
            message.add_alternative(html, subtype="html")
    elif html is not None:
        message.set_content(html, subtype="html")
    return message
