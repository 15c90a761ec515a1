"""Clients of the site, from a browser down to bytes.

`Visitor` uses Quart's test client and reads pages; `Browser` does the same over HTTP with a running site;
`talk` sends raw bytes to a port; `ask` calls the application over ASGI, for requests that clients and servers would not send or accept.
"""

from __future__ import annotations

import asyncio
import html
import re
import ssl
from collections.abc import Iterable
from contextvars import Context
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode
from urllib.request import HTTPCookieProcessor, build_opener

from quart import Quart, Response
from quart.testing import QuartClient

TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
FLASH = re.compile(r'<p class="flash[^"]*"[^>]*>(.*?)</p>', re.DOTALL)
ERROR = re.compile(r'<ul class="errors" id="(\w+)-errors">(.*?)</ul>', re.DOTALL)
BODY = re.compile(r'<p class="body"[^>]*>(.*?)</p>', re.DOTALL)
PAGING = re.compile(r'rel="(prev|next)" href="([^"]+)"')
ITEM = re.compile(r"<li>(.*?)</li>", re.DOTALL)


@dataclass
class Page:
    """A response and its text."""

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
    def paging(self) -> dict[str, str]:
        """Return the links to the neighbours of a page of posts, "prev" and "next"."""
        return {rel: html.unescape(href) for rel, href in PAGING.findall(self.text)}

    @property
    def token(self) -> str:
        """The CSRF token of the page's last form: the first is the logout button's."""
        return str(TOKEN.findall(self.text)[-1])

    def errors(self, field: str) -> list[str]:
        """Return the messages under `field`."""
        lists = dict(ERROR.findall(self.text))
        return [html.unescape(item) for item in ITEM.findall(lists.get(field, ""))]


def bodies(page: Page) -> list[str]:
    """Return the texts of the posts on `page`, without markup."""
    assert page.status == 200
    return [re.sub("<[^>]+>", "", html.unescape(body)) for body in BODY.findall(page.text)]


class Visitor:
    """One browser; it keeps cookies, and does not follow redirects."""

    def __init__(self, app: Quart, **client: Any) -> None:
        made = app.test_client(**client)
        assert isinstance(made, QuartClient)
        self.client: QuartClient = made

    def cookie(self, name: str) -> str:
        """Return the value of a cookie that must exist."""
        assert self.client.cookie_jar is not None
        [value] = [cookie.value for cookie in self.client.cookie_jar if cookie.name == name]
        assert value is not None
        return value

    async def get(self, path: str, **kwargs: Any) -> Page:
        """Request `path`, without following redirects."""
        return await self._page(await self.client.get(path, **kwargs))

    async def walk(self, path: str, rel: str = "next") -> list[Page]:
        """Return the page at `path`, and those to which its links lead, one after the other."""
        pages = [await self.get(path)]
        while rel in pages[-1].paging:
            assert len(pages) < 20
            pages.append(await self.get(pages[-1].paging[rel]))
        return pages

    async def submit(self, path: str, *, page: str | None = None, **fields: str) -> Page:
        """Open the page with the form, `page` or `path` itself, and submit it with `fields`."""
        token = (await self.get(page or path)).token
        return await self.post(path, csrf_token=token, **fields)

    async def post(self, path: str, **fields: str) -> Page:
        """Post `fields` without opening a page first."""
        return await self._page(await self.client.post(path, form=fields))

    async def register(self, username: str, password: str = "correct horse") -> Page:
        """Register with the address username@example.com."""
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


class Browser:
    """A client of a running site that keeps cookies and submits forms, on the standard library."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opener = build_opener(HTTPCookieProcessor())

    async def submit(self, path: str, **fields: str) -> str:
        """Open the form at `path`, submit it with `fields`, follow the redirect, and return the page."""
        page = await self.get(path)
        fields["csrf_token"] = TOKEN.findall(page)[-1]
        return await self._open(path, urlencode(fields).encode())

    async def get(self, path: str) -> str:
        """Return the page at `path`."""
        return await self._open(path, None)

    async def _open(self, path: str, body: bytes | None) -> str:
        def read() -> str:
            with self.opener.open(self.url + path, body, timeout=10) as response:
                return str(response.read(), "utf-8")

        return await asyncio.to_thread(read)


@dataclass
class Reply:
    """The response on a connection: the status (0 if there was none), the head and the body."""

    status: int
    head: str
    body: str


async def talk(
    port: int, *pieces: bytes, seconds: float = 30, tls: ssl.SSLContext | None = None, name: str | None = None
) -> Reply:
    """Send `pieces` over a new connection, and return what came until the server closed it.

    `name`: the server's name, which its certificate must hold.
    """
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
        sending = asyncio.create_task(_send(writer, pieces))
        received = await _receive(reader)
        sending.cancel()
        await asyncio.wait([sending])
        writer.close()
    head, _, body = received.decode("utf-8", "replace").partition("\r\n\r\n")
    return Reply(int(head.split()[1]) if head.startswith("HTTP/") else 0, head, body)


async def _send(writer: asyncio.StreamWriter, pieces: tuple[bytes, ...]) -> None:
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass


async def _receive(reader: asyncio.StreamReader) -> bytes:
    received = b""
    try:
        while data := await reader.read(65536):
            received += data
    except ConnectionError:
        pass
    return received


Headers = Iterable[tuple[bytes, bytes]]


@dataclass
class Answer:
    """The response; its status is 0 if there was none."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: str) -> str:
        """Return the first header of that name, or ""."""
        wanted = name.lower().encode()
        return next((v.decode("latin1") for k, v in self.headers if k.lower() == wanted), "")


async def ask(
    app: Quart,
    method: str,
    target: str,
    *,
    query: bytes = b"",
    headers: Headers = (),
    body: Iterable[bytes] = (),
    host: bytes = b"localhost",
    leave: asyncio.Event | None = None,
    unread: asyncio.Event | None = None,
    **scope: Any,
) -> Answer:
    """Send one request to `target`, a path that may be percent-encoded, with a body in pieces.

    The client disconnects once `leave` is set, and takes nothing of the answer until `unread` is.
    """
    whole = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0", "spec_version": "2.1"},
        "method": method,
        "scheme": "http",
        "path": unquote(target),
        "raw_path": target.encode("utf-8", "surrogatepass"),
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", host), *headers],
        "client": ("127.0.0.1", 4711),
        "server": ("127.0.0.1", 8000),
        "extensions": {},
    } | scope
    pieces = list(body)
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
    ]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    answer = Answer(0, [], b"")

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await (leave or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if unread is not None:
            await unread.wait()
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")

    call: Any = app(whole, receive, send)  # type: ignore[arg-type]
    await asyncio.create_task(call, context=Context())
    return answer
