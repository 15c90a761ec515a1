"""A PostgreSQL and a Redis server for tests, each in a temporary directory, listening on a socket file."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import asyncpg
import pytest

HASTY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""Settings for a server whose data may be lost."""

MEMORY = Path("/dev/shm")

NOTE_CHANGES = """
CREATE SCHEMA suite;
CREATE TABLE suite.version AS TABLE alembic_version;
CREATE TABLE suite.change (command text);
CREATE FUNCTION suite.note() RETURNS event_trigger LANGUAGE plpgsql
    AS 'BEGIN INSERT INTO suite.change VALUES (tg_tag); END';
CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION suite.note();
"""
"""Let a database note each change of its schema, after which it is not used again."""

EMPTY = """DO $$
DECLARE
    name regclass;
    has_rows boolean;
    filled text[] := '{}';
BEGIN
    FOR name IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', name) INTO has_rows;
        IF has_rows THEN filled := filled || name::text; END IF;
    END LOOP;
    IF filled <> '{}' THEN EXECUTE format('TRUNCATE %s CASCADE', array_to_string(filled, ', ')); END IF;
    INSERT INTO alembic_version TABLE suite.version;
    PERFORM setval(seqrelid::regclass, seqstart, false) FROM pg_sequence;
END $$"""
"""Make a database whose schema has not changed as it was after the migrations, in a tenth of the time of a new one."""


def find_postgres() -> Path | None:
    """Return the directory of initdb and pg_ctl, or None."""
    for candidate in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (candidate / "initdb").exists():
            return candidate
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def require_postgres() -> Path:
    """Return the directory of initdb and pg_ctl; without PostgreSQL skip the test, but fail it in CI."""
    binaries = find_postgres()
    if binaries is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs PostgreSQL, but initdb was not found")
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return binaries


class PostgresServer:
    """One running cluster; `with PostgresServer(binaries, directory) as server`."""

    def __init__(self, binaries: Path, directory: Path, settings: tuple[str, ...] = HASTY) -> None:
        self.binaries = binaries
        self.settings = ("listen_addresses=''", *settings)
        # A socket's path may have 107 bytes, and PostgreSQL refuses to run as root.
        folder = MEMORY if settings is HASTY and os.access(MEMORY, os.W_OK) else None
        self.directory = Path(tempfile.mkdtemp(prefix="pg", dir=folder))
        self.as_user = ("setpriv", "--reuid=nobody", "--clear-groups") if os.getuid() == 0 else ()
        if self.as_user:
            shutil.chown(self.directory, "nobody")
        self.count = 0
        self.template: str | None = None
        self.released: deque[str] = deque()

    def __enter__(self) -> Self:
        data = self.directory / "data"
        self._run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")
        self.start()
        return self

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        data = self.directory / "data"
        options = " ".join(f"-c {setting}" for setting in self.settings)
        self._run(
            "pg_ctl", "-D", str(data), "-w", "-l", str(self.directory / "log"),
            "-o", f"-k {self.directory} {options}", "start",
        )  # fmt: skip

    def stop(self) -> None:
        """Stop the server as a crash would, without waiting for clients."""
        self._run("pg_ctl", "-D", str(self.directory / "data"), "-m", "immediate", "stop")

    def signal(self, number: int) -> None:
        """Send a signal, such as SIGSTOP, to the server and all its processes."""
        master = int((self.directory / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        for process in (master, *map(int, children)):
            with suppress(ProcessLookupError):  # a child may end meanwhile
                os.kill(process, number)

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self.as_user, str(self.binaries / program), *arguments],
            check=True, capture_output=True, cwd=self.directory,
        )  # fmt: skip

    def url(self, name: str) -> str:
        """Return the DATABASE_URL of the database called `name`."""
        return f"postgresql+asyncpg://postgres@/{name}?host={self.directory}"

    async def fresh_database(self, migrate: Callable[[str], Awaitable[None]]) -> str:
        """Return the address of an empty database to which `migrate` has been applied."""
        if self.template is None:
            await self._execute("CREATE DATABASE template_microblog")
            await migrate(self.url("template_microblog"))
            await self._execute(NOTE_CHANGES, "template_microblog")
            self.template = "template_microblog"
        # The one that was released last may still have connections that are being closed.
        while len(self.released) > 1:
            if url := await self._recycle(self.released.popleft()):
                return url
        return await self.empty_database(f"TEMPLATE {self.template}")

    async def empty_database(self, options: str = "") -> str:
        """Return the address of a new database."""
        name = self._next_name()
        await self._execute(f"CREATE DATABASE {name} {options}")
        return self.url(name)

    def release_database(self, url: str) -> None:
        """Let a later test have the fresh database at `url`, emptied and under another name."""
        self.released.append(_name(url))

    async def drop_database(self, url: str) -> None:
        """Remove the database at `url`; each takes some 8 MB."""
        await self._execute(f"DROP DATABASE {_name(url)} WITH (FORCE)")

    async def _recycle(self, old: str) -> str | None:
        """Empty a database and return its new address, or remove it if its schema has changed."""
        name = self._next_name()  # so that a process left over from another test does not find it again
        await self._execute(
            f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = '{old}'"
        )
        await self._execute(f"ALTER DATABASE {old} RENAME TO {name}")
        connection = await self._connect(name)
        try:
            changed = await connection.fetchval("SELECT EXISTS (TABLE suite.change)")
            if not changed:
                await connection.execute(EMPTY)
        finally:
            await connection.close()
        if not changed:
            return self.url(name)
        await self.drop_database(self.url(name))
        return None

    def _next_name(self) -> str:
        self.count += 1
        return f"test_{self.count}"

    async def _connect(self, database: str) -> asyncpg.Connection:
        return await asyncpg.connect(host=str(self.directory), user="postgres", database=database)

    async def _execute(self, statements: str, database: str = "postgres") -> None:
        connection = await self._connect(database)
        try:
            await connection.execute(statements)
        finally:
            await connection.close()


def _name(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


class RedisServer:
    """A Redis server for an `async with` block, in which `start` and `stop` may be called."""

    def __init__(self) -> None:
        self.binary = shutil.which("redis-server")
        self.directory = Path(tempfile.mkdtemp(prefix="redis"))
        self.socket = self.directory / "socket"
        self.process: Process | None = None

    @property
    def url(self) -> str:
        return f"redis+socket://{self.socket}"

    async def start(self) -> None:
        assert self.binary is not None
        self.process = await asyncio.create_subprocess_exec(
            self.binary, "--port", "0", "--unixsocket", str(self.socket), "--save", "",
            "--dir", str(self.directory), stdout=DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(60):
            while await self._say("PING") != b"+PONG":
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            await self.process.wait()
            self.socket.unlink(missing_ok=True)
            self.process = None

    async def flush(self) -> None:
        assert await self._say("FLUSHALL") == b"+OK"

    async def _say(self, command: str) -> bytes:
        """Send one command and return the first line of the reply, or b"" if there is none."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket)
        except OSError:
            return b""
        writer.write(command.encode() + b"\r\n")
        answer = (await reader.readline()).strip()
        writer.close()
        await writer.wait_closed()
        return answer

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
