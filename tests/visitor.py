"""A visitor of the site in tests: keeps cookies, reads pages, and sends forms with their CSRF token."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

from quart import Quart, Response
from quart.testing import QuartClient

TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
FLASH = re.compile(r'<p class="flash[^"]*"[^>]*>(.*?)</p>', re.DOTALL)
ERROR = re.compile(r'<ul class="errors" id="(\w+)-errors">(.*?)</ul>', re.DOTALL)
ITEM = re.compile(r"<li>(.*?)</li>", re.DOTALL)


@dataclass
class Page:
    """What came back: the answer and its text."""

    response: Response
    text: str

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def location(self) -> str | None:
        return self.response.headers.get("Location")

    @property
    def title(self) -> str:
        found = TITLE.search(self.text)
        assert found is not None, self.text
        return html.unescape(found[1])

    @property
    def flashes(self) -> list[str]:
        return [html.unescape(flash) for flash in FLASH.findall(self.text)]

    @property
    def token(self) -> str:
        """The CSRF token of the page's last form: the first is the logout button's."""
        return str(TOKEN.findall(self.text)[-1])

    def errors(self, field: str) -> list[str]:
        """Return the messages under `field`."""
        lists = dict(ERROR.findall(self.text))
        return [html.unescape(item) for item in ITEM.findall(lists.get(field, ""))]


class Visitor:
    """One browser; `follow` redirects by asking for them with `get`."""

    def __init__(self, app: Quart, **client: Any) -> None:
        made = app.test_client(**client)
        assert isinstance(made, QuartClient)
        self.client: QuartClient = made

    def cookie(self, name: str) -> str:
        """Return the value of a cookie that the browser must have."""
        assert self.client.cookie_jar is not None
        [value] = [cookie.value for cookie in self.client.cookie_jar if cookie.name == name]
        assert value is not None
        return value

    async def get(self, path: str, **kwargs: Any) -> Page:
        """Ask for `path`, without following redirects."""
        return await self._page(await self.client.get(path, **kwargs))

    async def submit(self, path: str, *, page: str | None = None, **fields: str) -> Page:
        """Open the page that holds the form, `page` or `path` itself, and send it with `fields`."""
        token = (await self.get(page or path)).token
        return await self.post(path, csrf_token=token, **fields)

    async def post(self, path: str, **fields: str) -> Page:
        """Send `fields` as they are."""
        return await self._page(await self.client.post(path, form=fields))

    async def register(self, username: str, password: str = "correct horse") -> Page:
        """Make an account with the address username@example.com."""
        return await self.submit(
            "/register",
            username=username,
            email=f"{username}@example.com",
            password=password,
            password2=password,
        )

    async def log_in(self, username: str, password: str = "correct horse", **more: str) -> Page:
        """Log in with a name and password."""
        return await self.submit("/login", username=username, password=password, **more)

    async def _page(self, response: Any) -> Page:
        return Page(response, await response.get_data(as_text=True))
