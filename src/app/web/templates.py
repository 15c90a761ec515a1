"""Templates, compiled to plain functions.

Nothing in a template waits, and Jinja's async mode makes each block, macro and loop an async generator:
a page of posts takes several times as long in it.
"""

from __future__ import annotations

from typing import Any

import jinja2
from quart import Quart
from quart.templating import Environment


class PlainTemplate(jinja2.Template):
    """A template whose `render_async`, which Quart calls, renders at once."""

    async def render_async(self, *args: Any, **kwargs: Any) -> str:
        """Return the rendered text."""
        return self.render(*args, **kwargs)


class PlainEnvironment(Environment):
    """Quart's environment without Jinja's async mode, which Quart's own insists on."""

    template_class = PlainTemplate

    def __init__(self, app: Quart, **options: Any) -> None:
        super().__init__(app, **options)
        self.is_async = False


def init_app(app: Quart) -> None:
    """Let `app` compile its templates so; before anything asks for its `jinja_env`."""
    app.jinja_environment = PlainEnvironment
