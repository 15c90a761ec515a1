"""Clients that submit every form of the site and disconnect before the response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from quart import Quart
from sqlalchemy import insert, select

from app.accounts import tokens
from app.accounts.models import Registration, User
from app.database import reading, writing
from tests.clients import Visitor
from tests.factories import HASH, NOON, PASSWORD, logged_in, make_post, make_user

NEW = {"password": "a new horse", "password2": "a new horse"}
CURRENT = {"current": PASSWORD}

Preparation = Callable[["People", int], Awaitable["Parting"]]


@dataclass
class Parting:
    """A form to submit: its path, fields, and the browser whose cookies are sent."""

    path: str
    fields: dict[str, str]
    visitor: Visitor
    token: str = ""

    def request(self) -> bytes:
        """Return the bytes of the request."""
        jar = self.visitor.client.cookie_jar or ()
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)
        body = urlencode({**self.fields, "csrf_token": self.token}).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookies}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass
class People:
    """Prepares the forms of each route; accounts are reused where the form allows it."""

    app: Quart
    shared: dict[str, tuple[Visitor, str]] = field(default_factory=dict)

    async def guest(self) -> tuple[Visitor, str]:
        """Return a browser that is not logged in."""
        if "guest" not in self.shared:
            visitor = Visitor(self.app)
            self.shared["guest"] = visitor, (await visitor.get("/login")).token
        return self.shared["guest"]

    async def regular(self) -> tuple[Visitor, str]:
        """Return susan's browser."""
        if "susan" not in self.shared:
            visitor, _ = await logged_in(self.app, "susan")
            self.shared["susan"] = visitor, (await visitor.get("/index")).token
        return self.shared["susan"]

    async def fresh(self, name: str) -> tuple[Visitor, str, int]:
        """Return the browser of a new account with a post and a follower, its token and its id."""
        visitor, user_id = await logged_in(self.app, name)
        await make_post(user_id, f"by {name}")
        return visitor, (await visitor.get("/index")).token, user_id

    async def parting(self, rule: str, number: int) -> Parting:
        """Return client number `number` for the route `rule`."""
        return await PARTINGS[rule](self, number)


async def _login(people: People, number: int) -> Parting:
    await people.regular()
    visitor, token = await people.guest()
    return Parting("/login", {"username": "susan", "password": PASSWORD}, visitor, token)


async def _register(people: People, number: int) -> Parting:
    visitor, token = await people.guest()
    name = f"reg{number}"
    fields = {"username": name, "email": f"{name}@example.com", **NEW}
    return Parting("/register", fields, visitor, token)


async def _reset(people: People, number: int) -> Parting:
    visitor, token = await people.guest()
    user_id = await make_user(f"reset{number}")
    link = tokens.mint(tokens.RESET, user_id, await version(user_id), expires_in=600)
    return Parting(f"/reset_password/{link}", NEW, visitor, token)


async def _change_address(people: People, number: int) -> Parting:
    visitor, token = await people.guest()
    user_id = await make_user(f"move{number}")
    link = tokens.mint(
        tokens.CHANGE_EMAIL, user_id, await version(user_id), expires_in=600,
        address=f"moved{number}@example.com",
    )  # fmt: skip
    return Parting(f"/change_email/{link}", {}, visitor, token)


async def _confirm(people: People, number: int) -> Parting:
    visitor, token = await people.guest()
    row = {"username": f"conf{number}", "email": f"conf{number}@example.com", "password_hash": HASH}
    later = NOON.replace(year=NOON.year + 50)
    async with writing() as session:
        statement = insert(Registration).values(**row, expires_at=later).returning(Registration.id)
        found = (await session.execute(statement)).scalar_one()
    link = tokens.mint(tokens.CONFIRM_REGISTRATION, found, expires_in=600)
    return Parting(f"/confirm/{link}", {}, visitor, token)


def _by_guest(path: str, fields: Callable[[int], dict[str, str]]) -> Preparation:
    async def prepare(people: People, number: int) -> Parting:
        visitor, token = await people.guest()
        return Parting(path, fields(number), visitor, token)

    return prepare


def _by_susan(path: str, fields: Callable[[int], dict[str, str]]) -> Preparation:
    async def prepare(people: People, number: int) -> Parting:
        visitor, token = await people.regular()
        return Parting(path, fields(number), visitor, token)

    return prepare


def _by_somebody(path: str, name: str, fields: Callable[[int], dict[str, str]]) -> Preparation:
    async def prepare(people: People, number: int) -> Parting:
        visitor, token, _ = await people.fresh(f"{name}{number}")
        return Parting(path, fields(number), visitor, token)

    return prepare


def _about_a_post(page: str, fields: Callable[[int], dict[str, str]]) -> Preparation:
    async def prepare(people: People, number: int) -> Parting:
        visitor, token, user_id = await people.fresh(f"{page}{number}")
        post_id = await make_post(user_id, f"to {page}")
        return Parting(f"/post/{post_id}/{page}", fields(number), visitor, token)

    return prepare


async def version(user_id: int) -> int:
    """Return the version of the account's credentials."""
    async with reading() as connection:
        found = await connection.execute(select(User.credentials_version).where(User.id == user_id))
        return found.scalar_one()


PARTINGS: dict[str, Preparation] = {
    "/login": _login,
    "/logout": _by_somebody("/logout", "out", lambda n: {}),
    "/register": _register,
    "/reset_password_request": _by_guest(
        "/reset_password_request", lambda n: {"email": f"asked{n}@example.com"}
    ),
    "/reset_password/<token>": _reset,
    "/sessions/end": _by_susan("/sessions/end", lambda n: {"session": str(n + 1000)}),
    "/sessions/end_others": _by_somebody("/sessions/end_others", "others", lambda n: {}),
    "/change_password": _by_somebody("/change_password", "change", lambda n: CURRENT | NEW),
    "/change_email": _by_somebody(
        "/change_email", "ask", lambda n: CURRENT | {"email": f"other{n}@example.com"}
    ),
    "/download_data": _by_susan("/download_data", lambda n: {}),
    "/delete_account": _by_somebody("/delete_account", "gone", lambda n: CURRENT | {"sure": "y"}),
    "/change_email/<token>": _change_address,
    "/confirm/<token>": _confirm,
    "/index": _by_susan("/index", lambda n: {"post": f"post {n}"}),
    "/": _by_susan("/", lambda n: {"post": f"front {n}"}),
    "/post/<number>/reply": _about_a_post("reply", lambda n: {"post": f"reply {n}"}),
    "/post/<number>/delete": _about_a_post("delete", lambda n: {}),
    "/edit_profile": _by_susan("/edit_profile", lambda n: {"username": "susan", "about_me": str(n)}),
    "/follow/<path:username>": _by_somebody("/follow/susan", "fan", lambda n: {}),
    "/unfollow/<path:username>": _by_susan("/unfollow/fan1", lambda n: {}),
    "/follow/": _by_susan("/follow/?name=fan2", lambda n: {}),
    "/unfollow/": _by_susan("/unfollow/?name=fan2", lambda n: {}),
    "/theme": _by_guest("/theme", lambda n: {"theme": "dark", "next": "/hello"}),
    "/language": _by_susan("/language", lambda n: {"language": "en", "next": "/hello"}),
    "/hello": _by_guest("/hello", lambda n: {"name": f"greet{n}"}),
}


async def leave(port: int, parting: Parting, *, after: float) -> None:
    """Submit the form and disconnect `after` that many seconds."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(parting.request())
    await writer.drain()
    await asyncio.sleep(after)
    writer.transport.abort()


async def leave_at_response(port: int, parting: Parting) -> None:
    """Submit the form and disconnect when the response begins; do so again if the site is busy."""
    status = b"503"
    while status == b"503":
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(parting.request())
        status = (await reader.readline()).split()[1]
        writer.transport.abort()
