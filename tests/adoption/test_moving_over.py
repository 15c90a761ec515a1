"""docs/from-microblog.md: its commands, exactly as written, on a database of the 2018 edition."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from tests.adoption.old_files import PASSWORD, make_old_file, rows
from tests.clients import Browser, Reply, talk
from tests.processes import dev_site, microblog, program

ROOT = Path(__file__).parent.parent.parent
GUIDE = (ROOT / "docs" / "from-microblog.md").read_text()
STEPS = re.findall(r"```sh\n(.*?)```", GUIDE, flags=re.DOTALL)
COPY, ADOPT, CHECK, LOOK, SETTINGS, SERVE, BACK = STEPS

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home directory of somebody with a Microblog; the test runs in a directory beside it."""
    home = tmp_path / "home"
    (home / "microblog").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    shutil.copy(ROOT / "hypercorn.toml", tmp_path)
    return home


async def run(step: str) -> str:
    """Run a step's commands as a shell does, and return what they print."""
    async with program("bash", "-euc", step, read="both") as process:
        status = await process.end()
    output = "".join(process.lines)
    assert status == 0, output
    return output


@asynccontextmanager
async def served(command: str) -> AsyncIterator[int]:
    """Run the step that serves, on a free port instead of 8000, and give the port."""
    command = f"exec {command.strip()} --bind 127.0.0.1:0"
    async with program("bash", "-euc", command, read="both") as process:
        yield int((await process.line(r":(\d+) \(CTRL"))[1])


async def get(port: int, path: str, host: str) -> Reply:
    """Send a GET request to the running site."""
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    return await talk(port, head.encode())


async def test_every_step_of_the_guide(home: Path, tmp_path: Path) -> None:
    original = make_old_file(home / "microblog" / "app.db", "2018")
    untouched = original.read_bytes()
    await run(COPY)
    listed = await run(ADOPT)
    shown = re.findall(r"^    (Account .*)$", GUIDE, flags=re.MULTILINE)
    assert shown
    assert set(shown) <= set(listed.splitlines())
    accounts = listed.splitlines()[1:]
    assert (await run(CHECK)).splitlines()[1:] == accounts
    assert LOOK.strip() == "microblog dev"
    async with dev_site(tmp_path) as site:
        browser = Browser(site.url)
        await browser.submit("/login", username="susan", password=PASSWORD)
        assert "David speaks" in await browser.get("/index")
        await browser.submit("/index", post="written on the new site")
    await run(SETTINGS)
    async with served(SERVE) as port:
        page = await get(port, "/login", "microblog.example.com")
        assert page.status == 200
        assert "Sign In" in page.body
        assert (await get(port, "/readyz", "any")).status == 200
    assert original.read_bytes() == untouched
    await run(BACK)
    assert rows(original, "SELECT version_num FROM alembic_version") == [("ae346256b650",)]
    assert ("written on the new site",) in rows(original, "SELECT body FROM post")


async def test_another_programs_database_is_refused_in_one_sentence(home: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(home / "microblog" / "app.db")) as connection:
        connection.execute("CREATE TABLE recipe (id INTEGER PRIMARY KEY)")
    await run(COPY)
    before = (tmp_path / "var" / "microblog.db").read_bytes()
    done = await asyncio.to_thread(microblog, "db", "upgrade", DEBUG="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"DATABASE_URL: [^\n]+ is not a Microblog database [^\n]+; nothing was changed\.\n", done.stderr
    )
    assert (tmp_path / "var" / "microblog.db").read_bytes() == before
