"""The extension: ``Mail``, its ``Connection``, the state of an app and the signal."""

import asyncio
import inspect
import logging
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

from blinker import NamedSignal, Namespace
from quart import Quart, current_app, has_app_context

from .address import Address, envelope, mailbox
from .dialogue import wait_closed
from .errors import BadHeaderError, DeadlineExceeded, MailError, NoRecipientsError, NoSenderError
from .message import Message
from .probe import BODY, SUBJECT, Probe, describe, describe_connection
from .session import BeforeData, Pool, SendResult, Session, Transaction
from .settings import MailSettings, read_settings

NULL_SENDER = "<>"  # MAIL FROM of mails that must not cause a bounce, RFC 5321 4.5.5

_log = logging.getLogger(__name__)

signals: Namespace = Namespace()
email_dispatched: NamedSignal = signals.signal(
    "email-dispatched",
    doc="Sent after a mail was dispatched, also if sending is suppressed. Sender: the app.",
)


class _Sender(ABC):
    """What Mail, its state and Connection share: ``send`` and ``send_message``."""

    app: Quart | None = None
    _last: weakref.ref[Quart] | None = None

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
        """Send a message and announce it by ``email_dispatched``.

        ``envelope_from``: another address for MAIL FROM ("<>" for none). ``before_data``: an async
        callable awaited just before DATA; an exception from it stops the sending cleanly and is
        raised here unchanged. ``timeout``: seconds per reply, instead of ``MAIL_TIMEOUT`` and
        ``MAIL_DATA_TIMEOUT``. ``deadline``: seconds in total, instead of ``MAIL_DEADLINE``.
        ``reply_timeout``: seconds for the reply to the final dot, which the deadline then excludes: a
        client that gives up on that reply and tries again sends the message twice.

        Returns the server's reply and the refused recipients; raises MailError if the message was
        sent to nobody. Cancelling closes the connection. With ``MAIL_SUPPRESS_SEND`` everything except
        the sending happens.
        """
        app = self._current()
        settings: MailSettings = app.extensions["mail"]
        transaction = _transaction(settings, message, envelope_from)
        transaction.before_data = before_data
        transaction.timeout = timeout or settings.timeout
        transaction.data_timeout = reply_timeout or timeout or settings.data_timeout
        if settings.suppress:
            if before_data is not None:
                await before_data()
            result = SendResult(None, "", {})
        else:
            limit = settings.deadline if deadline is None else deadline
            result = await self._send_within(limit, transaction, to_dot=reply_timeout is not None)
        await _announce(app, message)
        return result

    async def send_message(self, *args: Any, **kwargs: Any) -> SendResult:
        """Create a Message from the arguments and send it."""
        return await self.send(Message(*args, **kwargs))

    async def _send_within(
        self, limit: float | None, transaction: Transaction, *, to_dot: bool
    ) -> SendResult:
        """Send within ``limit`` seconds, including the wait for a free connection.

        ``to_dot``: the limit does not include the reply to the final dot.
        """
        try:
            async with asyncio.timeout(limit) as timeout:
                if to_dot:
                    transaction.after_data = partial(timeout.reschedule, None)
                return await self._transmit(transaction)
        except TimeoutError as error:
            if not timeout.expired():
                raise
            raise DeadlineExceeded(
                f"The mail could not be sent within {limit:g} seconds.",
                stage=transaction.progress.stage,
                in_doubt=transaction.progress.in_doubt,
            ) from error

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

    @abstractmethod
    async def _transmit(self, transaction: Transaction) -> SendResult:
        """Send over a connection; raises MailError."""


def _transaction(
    settings: MailSettings, message: Message, envelope_from: Address | None = None
) -> Transaction:
    """Return a message's envelope and bytes; raises MessageError if it cannot be sent."""
    if not message.send_to:
        raise NoRecipientsError("No recipients have been added.")
    message.prepare(settings)
    if not message.sender:
        raise NoSenderError("The message does not specify a sender and MAIL_DEFAULT_SENDER is not set.")
    if message.has_bad_headers():
        raise BadHeaderError
    sender = "" if envelope_from == NULL_SENDER else mailbox(envelope_from or message.sender).spec
    recipients = envelope(message.send_to)
    data = message.render(ascii_attachments=settings.ascii_attachments)
    return Transaction(
        sender=sender,
        recipients=recipients,
        data=data,
        needs_utf8=not (sender.isascii() and all(map(str.isascii, recipients)) and data.isascii()),
        mail_options=message.mail_options,
        rcpt_options=message.rcpt_options,
        timeout=settings.timeout,
        data_timeout=settings.data_timeout,
    )


async def _announce(app: Quart, message: Message) -> None:
    """Call every receiver of ``email_dispatched``, sync or async, on this event loop.

    An exception in a receiver is only logged: the mail was sent, and an error here would make the
    caller send it again. (``send_async`` of blinker with Quart would run sync receivers in a thread.)
    """
    for receiver in list(email_dispatched.receivers_for(app)):
        try:
            result: Any = receiver(app, message=message)
            if inspect.isawaitable(result):
                await result
        except Exception:
            _log.exception("A receiver of email_dispatched failed; the mail was dispatched")


class _PooledSender(_Sender):
    """What Mail and its state share: they send over the app's pool."""

    def connect(self) -> "Connection":
        """Return a connection outside the pool, for ``async with``."""
        return Connection(self._current())

    @contextmanager
    def record_messages(self) -> Iterator[list[Message]]:
        """Collect the app's messages in a list as they are dispatched; for tests."""
        outbox: list[Message] = []

        def record(app: Quart, message: Message) -> None:
            outbox.append(message)

        with email_dispatched.connected_to(record, sender=self._current()):
            yield outbox

    async def _transmit(self, transaction: Transaction) -> SendResult:
        pool: Pool = self._current().extensions["mail_pool"]
        return await pool.send(transaction)


class AppMail(MailSettings, _PooledSender):
    """The settings in ``app.extensions["mail"]``, which can also send, as in Flask-Mail."""


class Mail(_PooledSender):
    """The mail extension of an app, like Flask-Mail's Mail but with ``await``.

    It sends for the app that it was created with; otherwise for the app of the current context, and
    outside a context for the last app that it was initialised with. It has the settings as attributes
    (``mail.server``), as in Flask-Mail.
    """

    def __init__(self, app: Quart | None = None) -> None:
        self.app = app
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Quart) -> AppMail:
        """Read the app's MAIL_* settings, store them in ``app.extensions["mail"]`` and return them.

        Raises ConfigurationError. Connections are closed when the app stops serving.
        """
        state = self.init_mail(app.config, app.debug, app.testing)
        state.app = app
        app.extensions["mail"] = state
        app.extensions["mail_pool"] = pool = Pool(state)
        app.after_serving(pool.close)
        self._last = weakref.ref(app)
        return state

    def init_mail(self, config: Mapping[str, Any], debug: bool = False, testing: bool = False) -> AppMail:
        """Return the settings in a config; raises ConfigurationError."""
        return AppMail(**vars(read_settings(config, debug=bool(debug), testing=bool(testing))))

    async def probe(self, recipient: Address) -> Probe:
        """Send a test mail over a new connection, even if sending is suppressed; report errors, too."""
        settings: MailSettings = self._current().extensions["mail"]
        report = Probe(describe(settings))
        start = time.monotonic()
        session = Session(settings)
        try:
            transaction = _transaction(settings, Message(SUBJECT, [recipient], BODY))
            await session.open(transaction.progress, settings.timeout)
            report.sentences += describe_connection(session)
            result = await session.send(transaction)
            reply, seconds = f"{result.code} {result.text}", time.monotonic() - start
            report.sentences.append(f"Sent in {seconds:.1f} s; the server replied: {reply}")
        except MailError as error:
            report.error = error
            report.sentences.append(f"Not sent: {error.text}")
        finally:
            session.quit()
            await wait_closed()
        return report

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

    def __getattr__(self, name: str) -> Any:
        state = None if name.startswith("_") else self.state
        if state is None or not hasattr(state, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(state, name)


class Connection(_Sender):
    """A connection of its own, outside the pool, opened by ``async with mail.connect()``.

    Messages are sent one at a time, in order. After ``MAIL_MAX_EMAILS`` messages it reconnects.
    """

    def __init__(self, app: Quart) -> None:
        self.app = app
        self._session = Session(app.extensions["mail"])
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Connect and log in; raises MailError."""
        if not self._session.settings.suppress:
            await self._session.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Send QUIT and close; errors here are ignored, because all messages were sent."""
        self._session.quit()
        await wait_closed()

    async def _transmit(self, transaction: Transaction) -> SendResult:
        async with self._lock:  # tasks may share the connection
            return await self._session.send(transaction)
