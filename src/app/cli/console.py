"""`microblog shell`: a Python console inside the site, in which `await` works."""

from __future__ import annotations

import ast
import asyncio
import code
import inspect
from types import CodeType, FunctionType
from typing import Any

from quart import Quart

from app.cli.context import take_down

BANNER = """Microblog console; `await` works. At hand: {names}.
Stored mail goes out by a running site, or by `await outbox.drain()`. Leave with exit() or Ctrl-D."""


class AsyncConsole(code.InteractiveConsole):
    """A console whose statements run on the loop of `runner`, between inputs and without a thread."""

    def __init__(self, names: dict[str, Any], runner: asyncio.Runner) -> None:
        super().__init__(names)
        self.names = names
        self.runner = runner
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    def runcode(self, code: CodeType) -> None:
        """Run what was typed, awaiting what it awaits; an error is shown and the console goes on."""
        function = FunctionType(code, self.names)

        async def run() -> None:
            result = function()
            if inspect.iscoroutine(result):
                await result

        try:
            self.runner.run(run())
        except SystemExit:
            raise
        except BaseException:  # a console shows every error, as Python's own does
            self.showtraceback()


def interact(app: Quart, names: dict[str, Any]) -> None:
    """Read statements from standard input until it ends, inside the context of `app`."""
    context = app.app_context()
    banner = BANNER.format(names=", ".join(sorted(names)))
    # A runner runs everything in one context of variables: what is entered once stays entered.
    with asyncio.Runner() as runner:
        runner.run(context.push())
        try:
            AsyncConsole(dict(names), runner).interact(banner=banner, exitmsg="")
        finally:
            runner.run(take_down(app))
            runner.run(context.pop(None))
