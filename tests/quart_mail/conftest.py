"""A bare Quart app with quart_mail, and servers to send to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from quart import Quart

from app.quart_mail import Mail, Message
from tests.smtp_server import AiosmtpdServer, SmtpServer

SENDER = "support@example.com"

MakeMail = Callable[..., Mail]


def make_app(**config: Any) -> Quart:
    app = Quart("x")
    app.config.update({"MAIL_DEFAULT_SENDER": SENDER, **config})
    return app


@pytest.fixture
async def make_mail() -> AsyncIterator[MakeMail]:
    """Return a function that creates a Mail with its own app; all are closed at the end."""
    async with AsyncExitStack() as stack:

        def make(port: int = 0, **config: Any) -> Mail:
            mail = Mail(make_app(**({"MAIL_PORT": port} if port else {}), **config))
            stack.push_async_callback(mail.close)
            return mail

        yield make


@pytest.fixture
async def app() -> AsyncIterator[Quart]:
    """Return an app under test, in its context, as in Flask-Mail's own tests."""
    app = make_app(TESTING=True)
    async with app.app_context():
        yield app


@pytest.fixture
def mail(app: Quart) -> Mail:
    return Mail(app)


@pytest.fixture
async def catcher() -> AsyncIterator[AiosmtpdServer]:
    async with AiosmtpdServer() as catcher:
        yield catcher


@pytest.fixture
async def scripted() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest.fixture
def message() -> Message:
    return Message("testing", ["to@example.com"], "testing", sender="from@example.com")
