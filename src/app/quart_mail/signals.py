"""The signal sent for every mail, and how its receivers are called."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from blinker import NamedSignal, Namespace

if TYPE_CHECKING:
    from quart import Quart

    from .message import Message

_log = logging.getLogger(__name__)

signals: Namespace = Namespace()
email_dispatched: NamedSignal = signals.signal(
    "email-dispatched",
    doc="Sent when a mail was dispatched, also when sending is suppressed. Sender: the app.",
)


async def announce(app: Quart, message: Message) -> None:
    """Call every receiver of ``email_dispatched``, sync and async ones, all on this loop.

    A receiver that raises is logged and does not stop the others: the mail is out, and an error
    here would make the caller send it again. (Quart would run sync receivers in a thread.)
    """
    for receiver in list(email_dispatched.receivers_for(app)):
        try:
            outcome: Any = receiver(app, message=message)
            if inspect.isawaitable(outcome):
                await outcome
        except Exception:
            _log.exception("A receiver of email_dispatched failed; the mail was dispatched.")
