"""`microblog shell`: a Python console with the app loaded, in which `await` works."""

import ast
import asyncio
import code
import inspect
from types import CodeType, FunctionType
from typing import Any

from quart import Quart

from app.cli.context import close_connections

BANNER = """Microblog console. You can use `await`.
Available: {names}.
Queued mail is sent by a running site, or by `await outbox.drain()`. Exit with exit() or Ctrl-D."""


class AsyncConsole(code.InteractiveConsole):
    """A console that runs each statement on the event loop of `runner`; the loop is paused between them."""

    def __init__(self, names: dict[str, Any], runner: asyncio.Runner) -> None:
        super().__init__(names)
        self.names = names
        self.runner = runner
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    def runcode(self, code: CodeType) -> None:
        """Run a statement, awaiting it if it uses `await`; print the traceback if it fails."""
        function = FunctionType(code, self.names)

        async def run() -> None:
            result = function()
            if inspect.iscoroutine(result):
                await result

        try:
            self.runner.run(run())
        except SystemExit:
            raise
        except BaseException:  # as Python's own console does, KeyboardInterrupt included
            self.showtraceback()


def interact(app: Quart, names: dict[str, Any]) -> None:
    """Run statements from standard input in the context of `app` until it ends."""
    context = app.app_context()
    banner = BANNER.format(names=", ".join(sorted(names)))
    # A runner uses one contextvars context for all it runs, so the app context stays pushed.
    with asyncio.Runner() as runner:
        runner.run(context.push())
        try:
            AsyncConsole(dict(names), runner).interact(banner=banner, exitmsg="")
        finally:
            runner.run(close_connections(app))
            runner.run(context.pop(None))
