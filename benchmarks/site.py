"""A site to measure, filled with people, posts and follows, and served by hypercorn in its own process."""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import insert
from werkzeug.security import generate_password_hash

from app import create_app
from app.accounts.models import User, followers
from app.database import writing
from app.migrations import run as migrations
from app.posts.models import Post

PEOPLE, POSTS, FOLLOWS = 200, 5000, 30
NAMES = [f"person{number}" for number in range(1, PEOPLE + 1)]
PASSWORD = "correct horse"
ROOT = Path(__file__).parent.parent
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Server:
    """A running server: its port and its process."""

    port: int
    process: asyncio.subprocess.Process

    @property
    def host(self) -> str:
        """The Host header to send."""
        return f"127.0.0.1:{self.port}"

    @property
    def cpu(self) -> float:
        """The CPU seconds it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory(self) -> float:
        """Its resident memory, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


async def fill(url: str) -> dict[str, str]:
    """Migrate the database at `url`, fill it, and return the settings of a site on it."""
    settings = {
        "DATABASE_URL": url,
        "SECRET_KEY": "a key for benchmarks only, not a secret",
        "BASE_URL": "http://127.0.0.1",
        "TRUSTED_HOSTS": "127.0.0.1",
        "MAIL_DEFAULT_SENDER": "measured@example.com",
        "PASSWORD_PROCESSES": "1",
    }
    app = create_app(settings)
    database = app.extensions["database"]
    await migrations.upgrade(database)
    async with app.app_context(), writing() as session:
        for table, rows in _rows():
            await session.execute(insert(table), rows)
    await database.dispose()
    return settings


def _rows() -> list[tuple[Any, list[dict[str, Any]]]]:
    chance = random.Random(1)
    hashed = generate_password_hash(PASSWORD, "pbkdf2:sha256:1")
    numbers = range(1, PEOPLE + 1)
    people = [
        {
            "username": name, "email": f"{name}@example.com", "password_hash": hashed,
            "username_canonical": name, "email_canonical": f"{name}@example.com",
        }
        for name in NAMES
    ]  # fmt: skip
    posts = [
        {
            "body": f"Post number {number}: " + "something to say " * chance.randint(1, 7),
            "timestamp": START + timedelta(minutes=number),
            "user_id": chance.choice(numbers),
        }
        for number in range(POSTS)
    ]
    follows = [
        {"follower_id": number, "followed_id": other}
        for number in numbers
        for other in chance.sample([one for one in numbers if one != number], FOLLOWS)
    ]
    return [(User, people), (Post, posts), (followers, follows)]


@asynccontextmanager
async def start(
    folder: Path, target: str, settings: dict[str, str], checkout: Path | None = None
) -> AsyncIterator[Server]:
    """Serve the app `target` by Hypercorn until the block ends; it may be that of another checkout."""
    hypercorn = (checkout / ".venv" / "bin" if checkout else Path(sys.executable).parent) / "hypercorn"
    config = (checkout or ROOT) / "hypercorn.toml"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = await asyncio.create_subprocess_exec(
            str(hypercorn), "--config", str(config),
            "--bind", f"fd://{listener.fileno()}", target,
            cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)} | settings, pass_fds=[listener.fileno()],
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield Server(listener.getsockname()[1], process)
        finally:
            process.terminate()
            await process.wait()


async def log_in(server: Server) -> str:
    """Log the first person in, and return the cookies as a header's value."""
    head, body = await _ask(server, "GET", "", "")
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', body)[1]  # type: ignore[index]
    session = "; ".join(re.findall(r"(?i)set-cookie: ([^;]+)", head))
    form = {"username": NAMES[0], "password": PASSWORD, "csrf_token": token}
    head, _ = await _ask(server, "POST", session, urlencode(form))
    jar = dict(cookie.split("=", 1) for cookie in re.findall(r"(?i)set-cookie: ([^;]+)", head))
    return "; ".join(f"{name}={value}" for name, value in jar.items() if value)


async def _ask(server: Server, method: str, cookie: str, body: str) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        f"{method} /login HTTP/1.1\r\nHost: {server.host}\r\nCookie: {cookie}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n\r\n{body}".encode()
    )
    answer = (await reader.read()).decode()
    writer.close()
    head, _, text = answer.partition("\r\n\r\n")
    return head, text
