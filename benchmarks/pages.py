"""Pages per second of the site, compared with a one-line Quart app under the same hypercorn.

    python -m benchmarks.pages [--seconds 1.5] [--rounds 5] [--connections 16] [--database URL] [--base DIR]
                               [--language ru]

Each runs in its own process. Rounds alternate over all URLs, so that other load on the machine affects them
alike. Compare the ratio to the one-line app; on a busy machine, compare the CPU time. The
site has 200 people, 5000 posts and 30 follows each. `--base` serves the checkout in DIR in the same rounds,
with its own DIR/.venv. The last table shows where the time of a page goes.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, redirect_stderr
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from quart import Quart

from app import create_app
from benchmarks.site import NAMES, PASSWORD, Server, fill, log_in, start

ONE_LINE = """
from quart import Quart
app = Quart(__name__)
@app.get("/")
async def hello(): return "Hello"
"""
PAGES = ("/login", "/index", "/explore", f"/user/{NAMES[7]}")
FLOORS = {"/login": 0.28, "/index": 0.12, "/explore": 0.14, PAGES[3]: 0.12}
REQUESTS = 200  # for each page, in the last table
HOST = {"Host": "127.0.0.1"}


@dataclass
class Result:
    """The results of one URL: pages per second and CPU time of each round, and the time of each response."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


async def load(
    server: Server, path: str, cookie: str, connections: int, seconds: float, language: str = "en"
) -> Result:
    """Request `path` over `connections` kept-alive connections for `seconds`."""
    headers = f"Host: {server.host}\r\nCookie: {cookie}\r\nAccept-Language: {language}\r\n"
    request = f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode()
    result = Result()
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while (begun := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{path}: {head[:80]!r}")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            result.seconds.append(time.perf_counter() - begun)
        writer.close()

    begun, used = time.perf_counter(), server.cpu
    await asyncio.gather(*(client() for _ in range(connections)))
    result.rates.append(len(result.seconds) / (time.perf_counter() - begun))
    result.cpu.append((server.cpu - used) / len(result.seconds))
    return result


async def measure(arguments: argparse.Namespace) -> None:
    """Start all servers, take turns, and print the tables."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "one_line.py").write_text(ONE_LINE)
        settings = await fill(arguments.database or f"sqlite:///{folder / 'microblog.db'}")
        one_line = await stack.enter_async_context(start(folder, "one_line:app", {}))
        turns = {"one line": (one_line, "/", "")}
        checkouts = {"": None, "base ": Path(arguments.base)} if arguments.base else {"": None}
        for label, checkout in checkouts.items():
            site = await stack.enter_async_context(start(folder, "app:create_app()", settings, checkout))
            cookie = await log_in(site)
            turns[f"{label}/healthz"] = (site, "/healthz", "")
            for path in PAGES:
                turns[label + path] = (site, path, "" if path == "/login" else cookie)
        results = {name: Result() for name in turns}
        how = (arguments.connections, arguments.seconds, arguments.language)
        for number in range(arguments.rounds + 1):
            for name, (server, path, jar) in turns.items():
                done = await load(server, path, jar, *how)
                if number:  # the first round warms up
                    results[name].rates += done.rates
                    results[name].cpu += done.cpu
                    results[name].seconds += done.seconds
        report(results)
        servers = {name.partition("/")[0] or "site": turn[0] for name, turn in turns.items()}
        memory = (f"{name.strip()} {server.memory:.0f} MB" for name, server in servers.items())
        print(f"\nmemory: {', '.join(memory)}")
        with redirect_stderr(io.StringIO()):  # the access log
            await show_parts(settings)


def report(results: dict[str, Result]) -> None:
    """Print a line for each address."""
    one = results["one line"].rates
    columns = ("pages/s", "ratio", "floor", "p50 ms", "p99 ms", "CPU ms")
    print(f"{'':20}" + "".join(f"{column:>9}" for column in columns))
    for name, result in results.items():
        ratio = statistics.median(rate / base for rate, base in zip(result.rates, one, strict=True))
        floor = f"{FLOORS[name]:.2f}" if name in FLOORS else ""
        cuts = statistics.quantiles(result.seconds, n=100)
        print(
            f"{name:20}{statistics.median(result.rates):9.0f}{ratio:9.3f}{floor:>9}"
            f"{cuts[49] * 1e3:9.2f}{cuts[98] * 1e3:9.2f}{statistics.median(result.cpu) * 1e3:9.2f}"
        )


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


async def show_parts(settings: dict[str, str]) -> None:
    """Print a line for each page: the whole, the statements, the template, Quart itself, the rest."""
    plain = Quart(__name__)

    @plain.get("/")
    async def hello() -> str:
        return "Hello"

    parts = Parts()
    quart_alone = (await parts.of(lambda: _ask(plain, "/", "")))[0]
    app = create_app(settings | {"PASSWORD_PROCESSES": "0"})
    cookie = await _log_in(app)
    parts.time(type(app.extensions["database"].raw_reads), "read", "statements")
    parts.time(app.jinja_env.template_class, "render_async", "template")
    columns = ("whole", "statements", "template", "Quart", "the rest")
    print(f"\n{'ms, in-process':16}" + "".join(f"{column:>12}" for column in columns))
    for page in PAGES:
        jar = "" if page == "/login" else cookie
        whole, *spent = await parts.of(partial(_ask, app, page, jar))
        cells = (whole, *spent, quart_alone, whole - sum(spent) - quart_alone)
        print(f"{page:16}" + "".join(f"{cell:12.2f}" for cell in cells))
    print("the rest: sessions and their signatures, forms, hosts, headers, building entries from rows")
    await app.extensions["database"].dispose()


async def _ask(app: Quart, path: str, cookie: str) -> None:
    """Call `app` for `path` as a server does, without a server."""
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
            await asyncio.Event().wait()  # the client stays connected
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


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.5, help="length of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--language", default="en", help="of the reader")
    parser.add_argument("--database", help="an empty database to fill instead of an SQLite file")
    parser.add_argument(
        "--base", type=os.path.abspath, metavar="DIR", help="another checkout to compare with"
    )
    os.environ.pop("DATABASE_URL", None)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
