"""Where the time of a page goes: the same requests inside this process, its parts timed."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from benchmarks.site import NAMES, PASSWORD
from quart import Quart

from app import create_app
from app.database.leases import RawReadPool
from app.web.templating import SyncTemplate

REQUESTS = 200
HOST = {"Host": "127.0.0.1"}


class Parts:
    """The milliseconds that the parts of one request took, by name."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    def time(self, owner: Any, method: str, part: str) -> None:
        """Time every call of the async `method` from now on."""
        real: Callable[..., Awaitable[Any]] = getattr(owner, method)

        async def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return await real(*args, **kwargs)
            finally:
                self.spent[part] += (time.perf_counter() - begun) * 1e3

        setattr(owner, method, timed)

    async def of(self, ask: Callable[[], Awaitable[None]]) -> list[float]:
        """Return the medians over REQUESTS of the whole, the statements and the template."""
        rows = []
        for _ in range(REQUESTS):
            self.spent.clear()
            begun = time.perf_counter()
            await ask()
            whole = (time.perf_counter() - begun) * 1e3
            rows.append((whole, self.spent["statements"], self.spent["template"]))
        return [statistics.median(column) for column in zip(*rows, strict=True)]


async def show(settings: dict[str, str], pages: tuple[str, ...]) -> None:
    """Print a line for each page: the whole, the statements, the template, Quart itself, the rest."""
    plain = Quart(__name__)

    @plain.get("/")
    async def hello() -> str:
        return "Hello"

    parts = Parts()
    quart_alone = (await parts.of(lambda: _ask(plain, "/", "")))[0]
    app = create_app(settings | {"PASSWORD_PROCESSES": "0"})
    cookie = await _log_in(app)
    parts.time(RawReadPool, "read", "statements")
    parts.time(SyncTemplate, "render_async", "template")
    columns = ("whole", "statements", "template", "Quart", "the rest")
    print(f"\n{'ms, in-process':16}" + "".join(f"{column:>12}" for column in columns))
    for page in pages:
        jar = "" if page == "/login" else cookie
        whole, *spent = await parts.of(partial(_ask, app, page, jar))
        cells = (whole, *spent, quart_alone, whole - sum(spent) - quart_alone)
        print(f"{page:16}" + "".join(f"{cell:12.2f}" for cell in cells))
    print(
        "the rest: sessions and their signatures, forms, hosts, headers, and turning rows into entries"
    )
    await app.extensions["database"].dispose()


async def _ask(app: Quart, path: str, cookie: str) -> None:
    """Ask `app` for `path` as a server does, without one."""
    headers = [(b"host", b"127.0.0.1"), (b"cookie", cookie.encode())]
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "extensions": {},
        "asgi": {"version": "3.0", "spec_version": "2.3"},
    }  # fmt: skip
    status = []
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.Event().wait()  # the client stays
        return messages.pop()

    async def send(message: dict[str, Any]) -> None:
        status.append(message.get("status"))

    await app(scope, receive, send)  # type: ignore[arg-type]
    if status[0] != 200:
        raise RuntimeError(f"{path}: {status[0]}")


async def _log_in(app: Quart) -> str:
    client = app.test_client()
    text = await (await client.get("/login", headers=HOST)).get_data(as_text=True)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', text)[1]  # type: ignore[index]
    form = {"username": NAMES[0], "password": PASSWORD, "csrf_token": token}
    await client.post("/login", form=form, headers=HOST)
    await client.get("/index", headers=HOST)
    assert client.cookie_jar is not None
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookie_jar)
