"""The catching SMTP server of `microblog dev` and the pages that show what it caught."""

from __future__ import annotations

from app.mailbox.routes import init_app
from app.mailbox.server import Catcher
from app.mailbox.store import CaughtMail, Mailbox

__all__ = ["Catcher", "CaughtMail", "Mailbox", "init_app"]
