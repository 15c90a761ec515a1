"""The kinds of mail an app can post: who renders each, how urgent it is, how long it is worth sending."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.outbox.models import LONGEST_ABOUT, Priority
from app.quart_mail import Message

READY_MADE = "message"
"""The kind of ready-made messages."""


@dataclass(frozen=True, slots=True)
class MailRequest:
    """What was asked for: `kind` with its `params`, and the time of the request (aware UTC)."""

    id: int
    kind: str
    params: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message and whom it is about, such as `user:7`: what `count_since` counts by."""

    message: Message
    about: str | None = None

    def __post_init__(self) -> None:
        if len(self.about or "") > LONGEST_ABOUT:
            raise ValueError(f"about: give at most {LONGEST_ABOUT} characters.")


Renderer = Callable[[MailRequest], Awaitable[Message | Rendered | None]]
"""Turns a request into a message, or into None: nothing to send. May be called again for a retry."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A registered kind. `expiry` in seconds from the request, None for OUTBOX_EXPIRY.

    `secret`: its parameters are not for an operator's eyes.
    """

    name: str
    renderer: Renderer
    priority: Priority = Priority.NORMAL
    expiry: float | None = None
    secret: bool = False
