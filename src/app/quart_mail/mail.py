"""The extension: ``Mail``, its ``Connection`` and the state of an app."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from quart import Quart, current_app, has_app_context

from .address import Address
from .dispatch import SendRequest, dispatch, email_dispatched
from .message import Message
from .pool import PersistentConnection, Pool
from .probe import Probe, probe
from .session import BeforeData, SendResult, Transaction, wait_closed
from .settings import MailSettings, read_settings


class Mail:
    """The mail extension of an app, like Flask-Mail's Mail but with ``await``.

    It sends for the app that it was created with; otherwise for the app of the current context, and
    outside a context for the last app that it was initialised with.
    """

    def __init__(self, app: Quart | None = None) -> None:
        self.app = app
        self._last: weakref.ref[Quart] | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Quart) -> AppMail:
        """Read the app's MAIL_* settings, store them in ``app.extensions["mail"]`` and return them.

        Raises ConfigurationError. Connections are closed when the app stops serving.
        """
        state = self.init_mail(app.config, app.debug, app.testing)
        state.mail.app = app
        app.extensions["mail"] = state
        app.extensions["mail_pool"] = pool = Pool(state)
        app.after_serving(pool.close)
        self._last = weakref.ref(app)
        return state

    def init_mail(
        self, config: Mapping[str, Any], debug: bool = False, testing: bool = False
    ) -> AppMail:
        """Return the settings in a config; raises ConfigurationError."""
        state = read_settings(config, debug=bool(debug), testing=bool(testing))
        return AppMail(**vars(state), mail=Mail())

    async def send(
        self,
        message: Message,
        envelope_from: Address | None = None,
        *,
        before_data: BeforeData | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
        reply_timeout: float | None = None,
    ) -> SendResult:
        """Send a message over a pooled connection.

        ``envelope_from``: another address for MAIL FROM ("<>" for none). ``before_data``: an async
        callable awaited just before DATA; an exception from it stops the sending cleanly and is
        raised here unchanged. ``timeout``: seconds per reply, instead of ``MAIL_TIMEOUT`` and
        ``MAIL_DATA_TIMEOUT``. ``deadline``: seconds in total, instead of ``MAIL_DEADLINE``.
        ``reply_timeout``: seconds for the reply to the final dot, which the deadline then excludes: a
        client that gives up on that reply and tries again sends the message twice.

        Returns the server's reply and the refused recipients; raises MailError if the message was
        sent to nobody. Cancelling closes the connection.
        """
        app = self._current()
        request = SendRequest(message, envelope_from, before_data, timeout, deadline, reply_timeout)
        return await dispatch(app, app.extensions["mail"], self.pool.send, request)

    async def send_message(self, *args: Any, **kwargs: Any) -> SendResult:
        """Create a Message from the arguments and send it."""
        return await self.send(Message(*args, **kwargs))

    async def probe(self, recipient: Address) -> Probe:
        """Send a test mail and report the settings used and the server's replies."""
        return await probe(self._current().extensions["mail"], recipient)

    def connect(self) -> Connection:
        """Return a connection outside the pool, for ``async with``."""
        app = self._current()
        return Connection(app, app.extensions["mail"])

    @contextmanager
    def record_messages(self) -> Iterator[list[Message]]:
        """Collect the app's messages in a list as they are dispatched; for tests."""
        outbox: list[Message] = []

        def record(app: Quart, message: Message) -> None:
            outbox.append(message)

        with email_dispatched.connected_to(record, sender=self._current()):
            yield outbox

    @property
    def state(self) -> AppMail | None:
        """The settings in use, or None before ``init_app``."""
        try:
            state: AppMail = self._current().extensions["mail"]
        except RuntimeError:
            return None
        return state

    @property
    def pool(self) -> Pool:
        """The app's connection pool."""
        pool: Pool = self._current().extensions["mail_pool"]
        return pool

    async def close(self) -> None:
        """Close idle connections now, and those in use after their message."""
        await self.pool.close()

    aclose = close

    def _current(self) -> Quart:
        """Return the app to send for; raises RuntimeError if there is none."""
        if self.app is not None:
            return self.app
        if has_app_context() and "mail_pool" in current_app.extensions:
            return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]
        last = self._last() if self._last is not None else None
        if last is None:
            raise RuntimeError("This Mail has no app; call init_app(app) first.")
        return last

    def __getattr__(self, name: str) -> Any:
        """Return a setting (``mail.server``), as Flask-Mail does."""
        state = None if name.startswith("_") else self.state
        if state is None or not hasattr(state, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(state, name)


class Connection:
    """A connection of its own, outside the pool, opened by ``async with mail.connect()``.

    Messages are sent one at a time, in order. After ``MAIL_MAX_EMAILS`` messages it reconnects.
    """

    def __init__(self, app: Quart, state: MailSettings) -> None:
        self.app = app
        self.state = state
        self._connection = PersistentConnection(state)
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Connection:
        """Connect and log in; raises MailError."""
        if not self.state.suppress:
            await self._connection.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Send QUIT and close; errors here are ignored, because all messages were sent."""
        self._connection.quit()
        await wait_closed()

    async def send(
        self,
        message: Message,
        envelope_from: Address | None = None,
        *,
        before_data: BeforeData | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
        reply_timeout: float | None = None,
    ) -> SendResult:
        """Send one message; see ``Mail.send``."""
        request = SendRequest(message, envelope_from, before_data, timeout, deadline, reply_timeout)
        return await dispatch(self.app, self.state, self._send, request)

    async def send_message(self, *args: Any, **kwargs: Any) -> SendResult:
        """Create a Message from the arguments and send it."""
        return await self.send(Message(*args, **kwargs))

    async def _send(self, transaction: Transaction) -> SendResult:
        async with self._lock:  # tasks may share the connection
            return await self._connection.send(transaction)


@dataclass
class AppMail(MailSettings):
    """The settings in ``app.extensions["mail"]``, which can also send, as in Flask-Mail."""

    mail: Mail = field(kw_only=True, repr=False, compare=False)

    async def send(self, *args: Any, **kwargs: Any) -> SendResult:
        """Send a message; see ``Mail.send``."""
        return await self.mail.send(*args, **kwargs)

    async def send_message(self, *args: Any, **kwargs: Any) -> SendResult:
        """Create a Message from the arguments and send it."""
        return await self.mail.send_message(*args, **kwargs)

    def connect(self) -> Connection:
        """Return a connection outside the pool, for ``async with``."""
        return self.mail.connect()

    def record_messages(self) -> AbstractContextManager[list[Message]]:
        """Collect the app's messages in a list as they are dispatched; for tests."""
        return self.mail.record_messages()
