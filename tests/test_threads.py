"""The site starts no threads: on PostgreSQL, whose driver needs none, the process has only one."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.clients import Browser
from tests.inspection import reset_link
from tests.processes import dev_site

RESET_MAIL = re.compile(r'href="(/mailbox/\d+)"[^>]*>\[Microblog\] Reset Your Password')


def count_threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
async def test_pages_logins_and_mails_start_no_thread(database_url: str, tmp_path: Path) -> None:
    async with dev_site(tmp_path, DATABASE_URL=database_url) as site:
        browser = Browser(site.url)
        person = {"username": "susan", "email": "susan@example.com"}
        await browser.submit("/register", **person, password="correct horse", password2="correct horse")
        await browser.submit("/reset_password_request", email="susan@example.com")
        async with asyncio.timeout(60):
            while not (found := RESET_MAIL.search(await browser.get("/mailbox"))):
                await asyncio.sleep(0.1)  # a page of another process: there is no event to wait for
        link = reset_link(await browser.get(found[1]))
        await browser.submit(link, password="battery staple", password2="battery staple")
        await browser.submit("/login", username="susan", password="battery staple")
        pages = ("/index", "/explore", "/user/susan", "/edit_profile", "/hello", "/healthz", "/readyz")
        style = re.search(r'href="(/static/site\.[^"]+)"', await browser.get("/index"))
        assert style is not None
        await asyncio.gather(*(browser.get(page) for page in (*pages, style[1]) for _ in range(4)))
        assert count_threads(site.pid) == 1
