"""The extension itself: ``Mail(app)``, and all that one does with it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from quart import Quart, current_app, has_app_context

from .address import Address
from .connection import Connection
from .dialogue import BeforeData
from .dispatch import Order, dispatch
from .message import Message
from .pool import Pool
from .probe import Probe, probe
from .session import SendResult
from .settings import MailState, read_settings
from .signals import email_dispatched


class Mail:
    """Sends mail for an app, as Flask-Mail's Mail does, with ``await``.

    It works for the app it was made with, as Flask-Mail's does; else for that of the app context,
    or outside any for the last one it was initialised with.
    """

    def __init__(self, app: Quart | None = None) -> None:
        self.app = app
        self._last: weakref.ref[Quart] | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Quart) -> AppMail:
        """Read the app's MAIL_* settings and return them; they are ``app.extensions["mail"]`` too.

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
        """Return the settings that a config holds; raises ConfigurationError."""
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
    ) -> SendResult:
        """Send a message over a pooled connection.

        ``envelope_from``: another address for MAIL FROM ("<>" for none). ``before_data``: an async
        callable awaited just before DATA; what it raises stops the sending cleanly and comes out of
        here unchanged. ``timeout``: seconds for each reply instead of ``MAIL_TIMEOUT`` and
        ``MAIL_DATA_TIMEOUT``. ``deadline``: seconds for all of it instead of ``MAIL_DEADLINE``.

        Returns the server's reply and the recipients it refused; raises MailError when the message
        went to nobody. Cancelling closes the connection.
        """
        app = self._current()
        order = Order(message, envelope_from, before_data, timeout, deadline)
        return await dispatch(app, app.extensions["mail"], self.pool.send, order)

    async def send_message(self, *args: Any, **kwargs: Any) -> SendResult:
        """Send a Message made of the arguments."""
        return await self.send(Message(*args, **kwargs))

    async def probe(self, recipient: Address) -> Probe:
        """Try the settings out with a test mail; the result tells in sentences how it went."""
        return await probe(self._current().extensions["mail"], recipient)

    def connect(self) -> Connection:
        """Return a connection of one's own, for ``async with``."""
        app = self._current()
        return Connection(app, app.extensions["mail"])

    @contextmanager
    def record_messages(self) -> Iterator[list[Message]]:
        """Collect this app's messages as they are dispatched, in a list; for tests."""
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
        """The connections kept open for the app."""
        pool: Pool = self._current().extensions["mail_pool"]
        return pool

    async def close(self) -> None:
        """Close idle connections; those in use are closed after their message."""
        await self.pool.close()

    aclose = close

    def _current(self) -> Quart:
        """Return the app to work for; raises RuntimeError without one."""
        if self.app is not None:
            return self.app
        if has_app_context() and "mail_pool" in current_app.extensions:
            return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]
        last = self._last() if self._last is not None else None
        if last is None:
            raise RuntimeError("No app was initialised with this Mail; call init_app(app) first.")
        return last

    def __getattr__(self, name: str) -> Any:
        """Return a setting (``mail.server``), as Flask-Mail does."""
        state = None if name.startswith("_") else self.state
        if state is None or not hasattr(state, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(state, name)


@dataclass
class AppMail(MailState):
    """An app's settings, at ``app.extensions["mail"]``, that send for it, as Flask-Mail's do."""

    mail: Mail = field(kw_only=True, repr=False, compare=False)

    async def send(self, *args: Any, **kwargs: Any) -> SendResult:
        """Send a message; arguments, result and errors are those of ``Mail.send``."""
        return await self.mail.send(*args, **kwargs)

    async def send_message(self, *args: Any, **kwargs: Any) -> SendResult:
        """Send a Message made of the arguments."""
        return await self.mail.send_message(*args, **kwargs)

    def connect(self) -> Connection:
        """Return a connection of one's own, for ``async with``."""
        return self.mail.connect()

    def record_messages(self) -> AbstractContextManager[list[Message]]:
        """Collect the app's messages as they are dispatched, in a list; for tests."""
        return self.mail.record_messages()
