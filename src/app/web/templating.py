"""Templates: compiled to plain functions, with filters for texts; flashed messages; the Blueprint.

Nothing in these templates is awaited. Jinja's async mode would still make each block, macro and loop an async
generator, which costs a page of posts a fifth of its whole time.
"""

import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

import jinja2
import quart
from quart import Quart, request, session
from quart.globals import request_ctx
from quart.templating import Environment

FLASHES_KEY = "_flashes"  # of the session, where `quart.flash` stores messages
MAIL_COLUMNS = 72
FIRST_CJK = "\u2e80"  # Chinese and Japanese are written without spaces
MAX_LINES = 10  # of a post that a page shows at once


class SyncTemplate(jinja2.Template):
    """A template whose `render_async`, which Quart calls, renders at once."""

    async def render_async(self, *args: Any, **kwargs: Any) -> str:
        """Return the rendered text."""
        return self.render(*args, **kwargs)


class SyncEnvironment(Environment):
    """Quart's environment with Jinja's async mode switched off."""

    template_class = SyncTemplate

    def __init__(self, app: Quart, **options: Any) -> None:
        super().__init__(app, **options)
        self.is_async = False


class Blueprint(quart.Blueprint):
    """Quart's Blueprint without the template context processor it inherits from Flask.

    That one adds nothing in Quart 0.22, but it is sync, so Quart would run it in a thread for every page.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.template_context_processors.clear()


def init_app(app: Quart) -> None:
    """Set up the templates of `app`; must run before anything reads `app.jinja_env`."""
    app.jinja_environment = SyncEnvironment
    app.jinja_env.filters.update(fold=fold, counted=counted, wrap=wrap, facts=facts)

    @app.before_request
    async def keep_flashes_on_head() -> None:
        """Keep flashed messages for the next GET: nobody sees the body of a response to HEAD."""
        if request.method == "HEAD":
            request_ctx.flashes = []  # type: ignore[assignment]


def counted(number: int, noun: str) -> str:
    """Return "1 follower", "2 followers"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def wrap(text: str) -> str:
    """Return a paragraph of a mail in lines of MAIL_COLUMNS; one without spaces between words as it is."""
    if any(character >= FIRST_CJK for character in text):
        return text
    return textwrap.fill(text, MAIL_COLUMNS, break_long_words=False, break_on_hyphens=False)


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Return the names and values in `rows` as two columns of a mail, without those that have no value."""
    width = max(_columns(name) for name, _ in rows)
    return "\n".join(f"{name}{' ' * (width - _columns(name))} {value}" for name, value in rows if value)


def _columns(text: str) -> int:
    """Return how many columns `text` takes: Chinese signs are as wide as two letters."""
    return sum(2 if unicodedata.east_asian_width(character) in "FW" else 1 for character in text)


def fold(text: str) -> tuple[str, str]:
    """Return the first MAX_LINES lines of `text` and the rest, which pages show on request."""
    if text.isprintable():  # one line
        return text, ""
    lines = text.splitlines(keepends=True)
    if len(lines) <= MAX_LINES:
        return text, ""
    return "".join(lines[:MAX_LINES]).rstrip("\r\n"), "".join(lines[MAX_LINES:])


async def flash(message: str, category: str = "message") -> None:
    """Show `message`, in the language of this page, on the next one."""
    await quart.flash(str(message), category)


async def flash_once(message: str) -> None:
    """Flash `message` unless it is already waiting for the next page."""
    if all(waiting != str(message) for _, waiting in session.get(FLASHES_KEY, ())):
        await flash(message)
