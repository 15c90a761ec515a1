"""How many pages a second the site serves, beside a one-line Quart app under the same hypercorn.

    python -m benchmarks.pages [--seconds 1.5] [--rounds 5] [--connections 16] [--database URL]

Both run as processes of their own; rounds go round robin over all addresses, so that what else the machine
does hits each alike, and the ratio to the one-line app is what counts; on a busy machine the processor time
says more. The site has 200 people, 5000 posts
and 30 follows each. The last table says where the time of a page goes.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import statistics
import tempfile
import time
from contextlib import AsyncExitStack, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import breakdown
from benchmarks.site import NAMES, Server, fill, log_in, start

ONE_LINE = """
from quart import Quart
app = Quart(__name__)
@app.get("/")
async def hello(): return "Hello"
"""
PAGES = ("/login", "/index", "/explore", f"/user/{NAMES[7]}")
TARGETS = {"/login": 0.30}
TARGET = 0.11


@dataclass
class Result:
    """What one address did: pages a second and processor time of each round, seconds of each answer."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


async def load(server: Server, path: str, cookie: str, connections: int, seconds: float) -> Result:
    """Ask for `path` over `connections` kept-alive connections for `seconds`."""
    request = f"GET {path} HTTP/1.1\r\nHost: {server.host}\r\nCookie: {cookie}\r\n\r\n".encode()
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
    """Start both servers, take turns, and print the tables."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "one_line.py").write_text(ONE_LINE)
        url = arguments.database or f"sqlite:///{folder / 'microblog.db'}"
        settings = await fill(url)
        one_line = await stack.enter_async_context(start(folder, "one_line:app", {}))
        site = await stack.enter_async_context(start(folder, "app:create_app()", settings))
        cookie = await log_in(site)
        turns = {"one line": (one_line, "/", ""), "/healthz": (site, "/healthz", "")}
        turns |= {path: (site, path, "" if path == "/login" else cookie) for path in PAGES}
        results = {name: Result() for name in turns}
        for number in range(arguments.rounds + 1):
            for name, (server, path, jar) in turns.items():
                done = await load(server, path, jar, arguments.connections, arguments.seconds)
                if number:  # the first round warms up
                    results[name].rates += done.rates
                    results[name].cpu += done.cpu
                    results[name].seconds += done.seconds
        report(results)
        print(f"\nmemory: one line {one_line.memory:.0f} MB, site {site.memory:.0f} MB")
        with redirect_stderr(io.StringIO()):  # the access log
            await breakdown.show(settings, PAGES)


def report(results: dict[str, Result]) -> None:
    """Print a line for each address."""
    one = results["one line"].rates
    print(
        f"{'':12}{'pages/s':>9}{'ratio':>8}{'to reach':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms':>9}"
    )
    for name, result in results.items():
        ratio = statistics.median(rate / base for rate, base in zip(result.rates, one, strict=True))
        target = f"{TARGETS.get(name, TARGET):.2f}" if name in PAGES else ""
        cuts = statistics.quantiles(result.seconds, n=100)
        print(
            f"{name:12}{statistics.median(result.rates):9.0f}{ratio:8.3f}{target:>10}"
            f"{cuts[49] * 1e3:9.2f}{cuts[98] * 1e3:9.2f}"
            f"{statistics.median(result.cpu) * 1e3:9.2f}"
        )


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.5, help="of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--database", help="an empty database to fill instead of an SQLite file")
    os.environ.pop("DATABASE_URL", None)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
