"""Every snippet in docs/mail.md runs, and its mails arrive."""

from __future__ import annotations

import ast
import base64
import inspect
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.quart_mail import Mail, MailSettings
from app.quart_mail.settings import read_settings
from tests.smtp_server import AiosmtpdServer, SmtpServer

DOCS = Path(__file__).parents[2] / "docs" / "mail.md"
TEXT = DOCS.read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


async def fetch_token() -> tuple[str, int]:
    return "fresh", 3600


async def run(snippet: str, names: dict[str, Any]) -> None:
    """Run a snippet as a console would, and then the tests it defines."""
    code = compile(snippet, str(DOCS), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    known = set(names)
    outcome = eval(code, names)
    if inspect.iscoroutine(outcome):
        await outcome
    for name in set(names) - known:
        if name.startswith("test_"):
            await names[name]()


@pytest.fixture
async def told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[tuple[AiosmtpdServer, dict[str, Any]]]:
    """Run all the snippets one after the other, against a server that refuses gone@example.com."""
    folder = tmp_path / "templates" / "email"
    folder.mkdir(parents=True)
    (folder / "welcome.txt").write_text("Welcome {{ name }}!")
    (folder / "welcome.html").write_text("<p>Welcome {{ name }}!</p>")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "an_app", "fetch_token": fetch_token}
    async with AiosmtpdServer() as catcher:
        catcher.refuse["gone@example.com"] = "550 no such user"
        for snippet in SNIPPETS:
            await run(snippet.replace("MAIL_PORT=8025", f"MAIL_PORT={catcher.port}"), names)
            if "first" not in names:
                names["first"] = names["mail"]
        await names["first"].close()
        yield catcher, names


async def test_every_snippet_runs_and_its_mails_arrive(
    told: tuple[AiosmtpdServer, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    catcher, _ = told
    assert TEXT.count("```") == 2 * len(SNIPPETS)
    subjects = [catcher.parsed(n)["Subject"] for n in range(len(catcher.envelopes))]
    assert subjects == [
        "test subject", "Hello", "Welcome", "Your report", "Our new logo",
        "News", "News", "News", "Hello", "Test of the mail settings",
    ]  # fmt: skip
    welcome = catcher.parsed(2).get_body(("html",))
    assert welcome is not None
    assert welcome.get_content().strip() == "<p>Welcome Ann!</p>"
    report = next(catcher.parsed(3).iter_attachments())
    assert report.get_content() == "name;posts\nann;3\n"
    assert any(part["Content-ID"] == "<logo>" for part in catcher.parsed(4).walk())
    assert "not sent" in capsys.readouterr().out


async def test_the_gmail_settings_log_in_by_xoauth2(told: tuple[AiosmtpdServer, dict[str, Any]]) -> None:
    _, names = told
    for app in ("gmail", "microsoft"):
        config = names[app].config
        assert config["MAIL_USE_TLS"]
        config.update(MAIL_SERVER="localhost", MAIL_USE_TLS=False)
        async with SmtpServer() as server:
            config["MAIL_PORT"] = server.port
            mail = Mail(names[app])
            await mail.send_message("s", ["to@example.com"])
            await mail.close()
        user = config["MAIL_USERNAME"].encode()
        sent = base64.b64decode(server.commands[1].removeprefix("AUTH XOAUTH2 "))
        assert sent == b"user=" + user + b"\x01auth=Bearer fresh\x01\x01"


def test_the_table_of_settings_is_whole() -> None:
    section = TEXT.partition("## Settings")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`(MAIL_[A-Z0-9_]+)`", section))
    asked: set[str] = set()

    class Asked(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.add(key)
            return default

    assert isinstance(read_settings(Asked()), MailSettings)
    assert listed == asked
