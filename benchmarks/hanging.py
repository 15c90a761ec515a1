"""Pages per second while the mail server hangs, compared with a site whose mail server works.

    python -m benchmarks.hanging [--waiting 500] [--seconds 1.5] [--rounds 5] [--connections 16]

Both sites have the same number of mails to deliver; the working one sends them in the first round.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from app import create_app
from app.accounts import emails
from app.database import writing
from app.dev.catcher import Catcher
from benchmarks.pages import load
from benchmarks.site import Server, fill, log_in, start

WANTED = 0.95
PATH = "/index"


async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept a connection and send nothing until the client disconnects."""
    await reader.read()
    writer.close()


async def site(stack: AsyncExitStack, name: str, port: int, waiting: int) -> tuple[Server, str]:
    """Start a site that has `waiting` mails for the server at `port`; return it and a login's cookies."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    settings = await fill(f"sqlite:///{folder / 'microblog.db'}") | {
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": str(port),
        "FLASKY_ADMIN": "admin@example.com",
    }
    app = create_app(settings)
    async with app.app_context(), writing() as session:
        for number in range(waiting):
            await emails.AccountDeleted(f"{name}{number}", "susan@example.com").post(session)
    await app.extensions["database"].dispose()
    server = await stack.enter_async_context(start(folder, "app:create_app()", settings))
    return server, await log_in(server)


async def measure(arguments: argparse.Namespace) -> None:
    """Start both, take turns, and print both rates and their ratio."""
    async with AsyncExitStack() as stack:
        catcher = await stack.enter_async_context(Catcher())
        mute = await asyncio.start_server(never_answer, "127.0.0.1", 0)
        stack.callback(mute.close)
        ports = {"healthy": catcher.port, "hanging": mute.sockets[0].getsockname()[1]}
        sites = {name: await site(stack, name, port, arguments.waiting) for name, port in ports.items()}
        rates: dict[str, list[float]] = {name: [] for name in sites}
        for number in range(arguments.rounds + 1):
            for name, (server, cookie) in sites.items():
                done = await load(server, PATH, cookie, arguments.connections, arguments.seconds)
                if number:  # the first round warms up, and the healthy site sends its mails
                    rates[name] += done.rates
        print(f"the healthy mail server got {len(catcher.mailbox)} mails or more")
    for name, each in rates.items():
        print(f"{PATH}, mail server {name}: {statistics.median(each):6.0f} pages/s")
    pairs = zip(rates["hanging"], rates["healthy"], strict=True)
    ratio = statistics.median(hanging / healthy for hanging, healthy in pairs)
    verdict = "reached" if ratio >= WANTED else "NOT reached"
    print(f"ratio {ratio:.2f}; {WANTED} is {verdict}")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--waiting", type=int, default=500, help="mails per site")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
