"""The `microblog` command: its subcommands, output and errors."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.error import HTTPError

import pytest

from app.dev.catcher import Catcher
from app.migrations import HEAD_REVISION
from tests import processes
from tests.clients import Browser
from tests.processes import MICROBLOG, dev_site, program
from tests.smtp_server import SmtpServer

PRODUCTION = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "BASE_URL": "http://127.0.0.1:8000",
    "ADMINS": "admin@example.com",
}


microblog = partial(processes.microblog, **PRODUCTION)
microblog_process = partial(processes.microblog_process, **PRODUCTION)


def test_an_operator_makes_the_database_and_an_account() -> None:
    assert microblog("db", "upgrade").returncode == 0
    made = microblog_process("user", "create", "susan", "susan@example.com", "--password", "correct horse")
    assert (made.returncode, made.stdout) == (0, "Created the account susan.\n")
    again = microblog("user", "create", "SUSAN", "other@example.com", "--password", "correct horse")
    assert again.returncode == 1
    assert "Another account has this username." in again.stderr
    short = microblog("user", "create", "tom", "tom@example.com", "--password", "short")
    assert "password: Too short: at least 8 characters." in short.stderr
    reserved = microblog("user", "create", "support", "support@example.com", "--password", "correct horse")
    assert (reserved.returncode, reserved.stdout) == (0, "Created the account support.\n")
    with closing(sqlite3.connect("var/microblog.db")) as database, database:  # as in an old database
        database.execute("UPDATE user SET username = ? WHERE username = 'susan'", ("su\x1b]0;x\x07\n",))
    assert "su\\x1b]0;x\\x07\\x0a\tsusan@example.com\t" in microblog("user", "list").stdout


def test_a_bad_address_is_refused_before_the_password_prompt() -> None:
    done = microblog("user", "create", "susan", "nobody", stdin="")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: email: Invalid email address.\n"


def test_the_db_commands_say_in_a_sentence_what_they_found_and_did() -> None:
    upgraded = microblog("db", "upgrade")
    newest = HEAD_REVISION
    assert (upgraded.returncode, upgraded.stdout) == (
        0, f"Created the database schema (revision {newest}).\n"
    )  # fmt: skip
    again = microblog("db", "upgrade").stdout
    assert again == f"The database schema is already at revision {newest}.\n"
    assert microblog("db", "current").stdout == f"The database schema is at revision {newest} (the latest).\n"
    checked = microblog("db", "check")
    assert (checked.returncode, checked.stdout) == (
        0, f"The database schema is up to date (revision {newest}).\n"
    )  # fmt: skip
    back = microblog("db", "downgrade", "ae346256b650").stdout
    assert back == f"Downgraded the database schema from revision {newest} to revision ae346256b650.\n"
    assert microblog("db", "current").stdout == (
        "The database schema is at revision ae346256b650, which is out of date; run `microblog db upgrade`.\n"
    )
    behind = microblog("db", "check")
    assert behind.returncode == 1
    assert behind.stderr == (
        f"The database is at revision ae346256b650, and this version needs {newest}: "
        "run `microblog db upgrade`.\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [("db", "current"), ("db", "check"), ("db", "downgrade", "base"), ("user", "list"), ("outbox", "stats")],
)  # fmt: skip
def test_only_an_upgrade_makes_a_database(arguments: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "none"
    url = f"sqlite:///{folder}/x.db"
    done = microblog(*arguments, DATABASE_URL=url)
    assert done.returncode == 1
    assert done.stderr == (
        f"DATABASE_URL: there is no database at {folder}/x.db; run `microblog db upgrade` to create it\n"
    )
    assert not folder.exists()
    assert microblog("db", "upgrade", DATABASE_URL=url).returncode == 0
    assert (folder / "x.db").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("db", "current"), 0, "The database has no tables yet; run `microblog db upgrade`.\n"),
        (("db", "check"), 1, "The database is at revision (none), and this version needs"),
        (("user", "list"), 1, "DATABASE_URL: the database schema is out of date; run `microblog db upgrade`"),
    ],
)
def test_an_empty_file_is_reported_and_left_empty(
    arguments: tuple[str, ...], status: int, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    done = microblog(*arguments, DATABASE_URL=f"sqlite:///{path}")
    assert done.returncode == status
    said = done.stderr + done.stdout
    assert said.startswith(words)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (("db", "upgrade"), {"SECRET_KEY": ""}, "SECRET_KEY is missing and DEBUG is off"),
        (("db", "upgrade"), {"DATABASE_URL": "nonsense"}, "DATABASE_URL: the value given is not accepted"),
        (("db", "upgrade"), {"DATABASE_URL": "postgresql://u:hidden@127.0.0.1:1/x"}, "DATABASE_URL: postgresql+asyncpg://u:***@127.0.0.1:1/x cannot be used"),
        (("db", "upgrade", "no-such-revision"), {}, "Can't locate revision"),
        (("user", "list"), {"DATABASE_URL": "sqlite:////proc/none/x.db"}, "DATABASE_URL: "),
        (("dev", "--port", "0"), {"MAIL_PORT": "abc"}, "MAIL_PORT: 'abc' is not accepted"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_in_one_sentence(
    arguments: tuple[str, ...], environment: dict[str, str], words: str
) -> None:
    done = microblog(*arguments, **environment)
    assert done.returncode == 1
    assert done.stderr.startswith(words), done.stderr
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stderr


def test_a_taken_port_is_reported_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = microblog("dev", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr.startswith(f"Cannot listen on 127.0.0.1 port {port} (Address already in use)")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_an_invalid_port_is_reported_in_one_sentence(port: str) -> None:
    done = microblog("dev", "--port", port)
    assert done.returncode == 2
    assert done.stderr.endswith(
        f"Error: Invalid value for '--port' (env var: 'PORT'): {port} is not in the range 0<=x<=65535.\n"
    )


def test_a_port_of_the_environment_that_is_none_is_named() -> None:
    done = microblog("dev", PORT="abc")
    assert done.returncode == 2
    assert "(env var: 'PORT'): 'abc' is not a valid integer" in done.stderr


def test_the_console_awaits_and_has_the_site_at_hand() -> None:
    microblog("db", "upgrade")
    done = microblog(
        "shell",
        stdin="from app import outbox, email\n"
        "handle = await email.send_email('test', None, ['x@example.com'], 'body', None)\n"
        "print('subject', Message('hello', recipients=['x@example.com']).subject)\n"
        "1 / 0\n"
        "print('still here', app.name)\n",
    )
    assert "subject hello" in done.stdout
    assert "ZeroDivisionError" in done.stderr
    assert "still here app" in done.stdout
    assert done.returncode == 0


def test_the_console_hashes_as_often_as_it_is_asked() -> None:
    microblog("db", "upgrade")
    done = microblog(
        "shell",
        stdin="u = User(username='susan', email='susan@example.com')\n"
        "await u.set_password('correct horse')\n"
        "print('right', await u.check_password('correct horse'))\n"
        "print('wrong', await u.check_password('battery staple'))\n"
        "from app import email\n"
        "async with writing() as session:\n    session.add(u)\n\n"
        "handle = await email.send_password_reset_email(u)\n"
        "await outbox.drain()\n"
        "print('state', (await outbox.stats())['states']['queued'])\n",
    )
    assert "right True" in done.stdout, done.stderr
    assert "wrong False" in done.stdout
    assert "state 1" in done.stdout  # no mail server runs here, so it still waits


async def test_the_console_takes_leave_of_the_mail_server() -> None:
    async with SmtpServer() as server:
        settings = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(server.port)}
        said = "await mail.send(Message('hello', recipients=['x@example.com'], body='Hi'))\n"
        done = await asyncio.to_thread(microblog, "shell", stdin=said, **settings)
        assert (done.returncode, len(server.messages)) == (0, 1), done.stderr
        await server.until(lambda: server.closed == 1)
    assert server.commands[-1].upper() == "QUIT"


async def test_dev_starts_migrated_with_an_inbox_and_stops_at_sigterm(tmp_path: Path) -> None:
    async with program(MICROBLOG, "dev", "--port", "0", folder=tmp_path) as site:
        found = await site.line(r"http://(\S+):(\d+)/mailbox")
        await site.line("Ctrl-C")
        host, port = found.groups()
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /readyz HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        assert " 200 " in answer.splitlines()[0]
    assert site.status == 0
    assert (tmp_path / "var" / "microblog.db").exists()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback address")
async def test_dev_listens_on_an_ipv6_address(tmp_path: Path) -> None:
    async with dev_site(tmp_path, "--host", "::1") as site:
        assert site.url.startswith("http://[::1]:")
        assert "Sign In" in await Browser(site.url).get("/login")


@pytest.mark.parametrize("given", [{}, {"TRUSTED_HOSTS": "127.0.0.2"}])
async def test_dev_on_every_address_is_found_from_this_machine(tmp_path: Path, given: dict[str, str]) -> None:
    async with dev_site(tmp_path, "--host", "0.0.0.0", **given) as site:
        assert site.url.startswith("http://127.0.0.1:")
        assert f"{site.url}/mailbox" in site.greeting
        assert ("to open it from other machines" in site.greeting) is not bool(given)
        assert "Sign In" in await Browser(site.url).get("/login")
        other = Browser(site.url.replace("127.0.0.1", "127.0.0.2"))
        if given:
            assert "Sign In" in await other.get("/login")
        else:
            with pytest.raises(HTTPError, match="400"):
                await other.get("/login")


async def test_dev_uses_the_mail_server_of_the_environment(tmp_path: Path) -> None:
    async with dev_site(tmp_path, MAIL_SERVER="mx.example.com") as site:
        assert "/mailbox" not in site.greeting
        assert "mx.example.com" in site.greeting


async def test_mail_test_says_which_settings_were_used_and_what_the_server_answered() -> None:
    async with Catcher() as catcher:
        settings = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(catcher.port)}
        done = await asyncio.to_thread(microblog, "mail", "test", "susan@example.com", **settings)
        assert done.returncode == 0, done.stderr
        assert f"127.0.0.1, port {catcher.port}" in done.stdout
        assert "250" in done.stdout
        mail = await catcher.mailbox.wait()
    assert mail.recipients == ("susan@example.com",)
    refused = await asyncio.to_thread(microblog, "mail", "test", "susan@example.com", **settings)
    assert refused.returncode == 1
    assert "connection refused" in refused.stdout


@pytest.mark.parametrize("wrong", ["foo", ""])
def test_mail_test_refuses_an_invalid_address_before_it_connects(wrong: str) -> None:
    done = microblog("mail", "test", wrong)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: {wrong!r} is not a valid email address.\n"
