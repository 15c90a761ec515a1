"""Which passwords are accepted, what is never hashed, and that hashing holds no more than its slots."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import func, select, update
from werkzeug.security import generate_password_hash

from app.accounts import passwords
from app.accounts.forms import PASSWORD_IS_NAME, PASSWORD_TOO_COMMON
from app.accounts.models import User
from app.accounts.passwords import Busy, Hasher
from app.database import reading, writing
from tests.clients import Page, Visitor
from tests.conftest import CHEAP_HASH
from tests.factories import PASSWORD, logged_in, make_user

SLOW = "pbkdf2:sha256:600000"


class CountingHasher(Hasher):
    """A hasher that notes what it was asked to hash."""

    def __init__(self) -> None:
        super().__init__(0)
        self.hashed: list[str] = []

    async def run(self, function: Callable[..., Any], *arguments: str) -> tuple[Any, float]:
        self.hashed += arguments
        return await super().run(function, *arguments)


@pytest.fixture
def hasher(app: Quart) -> CountingHasher:
    hasher = CountingHasher()
    app.extensions["passwords"] = hasher
    return hasher


async def register(app: Quart, password: str) -> tuple[Visitor, Page]:
    visitor = Visitor(app)
    return visitor, await visitor.register("susan", password)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("password", ["password123", "PassWord123", "12345678", "qwertyuiop"])
async def test_a_password_of_many_is_refused_in_words(app: Quart, password: str) -> None:
    _, page = await register(app, password)
    assert page.errors("password") == [PASSWORD_TOO_COMMON]
    async with reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(User)) == 0


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_password_that_is_the_name_or_address_is_refused(app: Quart) -> None:
    visitor = Visitor(app)
    for username, password in (("susan.miller", "Susan.Miller"), ("sue", "sue@example.com")):
        page = await visitor.register(username, password)
        assert page.errors("password") == [PASSWORD_IS_NAME]


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("password", ["Susan.Miller", "SUSAN.miller@example.com"])
async def test_nor_may_it_become_the_name_or_address_later(app: Quart, password: str) -> None:
    visitor, _ = await logged_in(app, "susan.miller")
    chosen = {"password": password, "password2": password}
    page = await visitor.submit("/change_password", current=PASSWORD, **chosen)
    assert page.errors("password") == [PASSWORD_IS_NAME]
    async with writing() as session:
        user = (await session.scalars(select(User))).one()
    link = f"/reset_password/{user.get_reset_password_token()}"
    assert (await visitor.submit(link, **chosen)).errors("password") == [PASSWORD_IS_NAME]
    assert (await visitor.get(link)).status == 200
    assert (await Visitor(app).log_in("susan.miller")).location == "/index"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_shortest_length_is_a_setting(app: Quart) -> None:
    app.config["PASSWORD_MIN_LENGTH"] = 4
    visitor, page = await register(app, "1234")
    assert page.errors("password") == [PASSWORD_TOO_COMMON]
    page = await visitor.register("susan", "z8q?")
    assert page.location == "/login"


@pytest.mark.parametrize(
    "password",
    ["x" * 128 + "y" * 128, " spaces are kept  ", "пароль, который никто", "a\0b\nc\td e f", "🐴🔋📎 staple"],
)  # fmt: skip
async def test_any_characters_are_kept_whole(app: Quart, password: str) -> None:
    visitor, page = await register(app, password)
    assert page.location == "/login", page.text
    for other in {password[:-1], password.strip(), password.split("\0")[0]} - {password}:
        page = await visitor.log_in("susan", other)
        assert page.location is None
    assert (await visitor.log_in("susan", password)).location == "/index"


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("length", [257, 1_000_000])
async def test_a_huge_password_is_never_hashed(
    app: Quart, hasher: CountingHasher, length: int
) -> None:
    await make_user("susan")
    huge, visitor = "x" * length, Visitor(app)
    pages = [
        await visitor.log_in("susan", huge),
        await visitor.register("other", huge),
        await visitor.submit(await _reset_link(app), password=huge, password2=huge),
    ]
    assert {page.status for page in pages} <= {200, 413}
    assert hasher.hashed == []
    await visitor.log_in("susan")
    assert hasher.hashed != []


async def _reset_link(app: Quart) -> str:
    async with writing() as session:
        user = (await session.scalars(select(User).where(User.username == "susan"))).one()
        return f"/reset_password/{user.get_reset_password_token()}"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_an_unknown_name_and_a_missing_hash_cost_one_hash(
    app: Quart, hasher: CountingHasher
) -> None:
    await make_user("susan", password_hash=None)
    for name in ("susan", "nobody"):
        hasher.hashed.clear()
        await Visitor(app).log_in(name, "battery staple")
        assert hasher.hashed == ["battery staple", app.config["PASSWORD_HASH_METHOD"]]


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("confirm", [False, True])
async def test_a_taken_name_costs_no_hash(
    app: Quart, hasher: CountingHasher, confirm: bool
) -> None:
    app.config["CONFIRM_EMAIL"] = confirm
    await make_user("susan")
    page = await Visitor(app).register("SUSAN")
    assert page.errors("username") == ["Please use a different username."]
    assert hasher.hashed == []


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_taken_address_that_is_not_told_costs_what_a_free_one_does(
    app: Quart, hasher: CountingHasher
) -> None:
    app.config["CONFIRM_EMAIL"] = True
    await make_user("susan", email="david@example.com")
    assert (await Visitor(app).register("david")).location == "/login"
    assert hasher.hashed == [PASSWORD, app.config["PASSWORD_HASH_METHOD"]]


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    "stored",
    [generate_password_hash("x", "pbkdf2:sha256:1"), SLOW, f"{SLOW}$salt"],
    ids=["cheaper", "nothing", "only a salt"],
)
async def test_no_to_a_cheaper_or_broken_hash_comes_no_sooner(
    app: Quart, hasher: CountingHasher, stored: str
) -> None:
    app.config["PASSWORD_HASH_METHOD"] = SLOW
    await make_user("susan", password_hash=stored)
    await make_user("david", password_hash=generate_password_hash("x", SLOW))
    loop = asyncio.get_running_loop()
    times: dict[str, list[float]] = {"susan": [], "david": []}
    for name in ["david", "susan"] * 4:
        begin = loop.time()
        assert (await Visitor(app).log_in(name, "battery staple")).location is None
        times[name].append(loop.time() - begin)
    assert min(times["susan"]) > min(times["david"]) / 2
    assert min(hasher.usual) > min(times["david"]) / 2  # what such answers are padded to


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_an_old_hash_is_brought_up_only_by_the_right_password(app: Quart) -> None:
    await make_user(
        "susan", password_hash=generate_password_hash("battery staple", "pbkdf2:sha256:3")
    )
    visitor = Visitor(app)
    async with reading() as connection:
        before = await connection.scalar(select(User.password_hash))
        await visitor.log_in("susan", "wrong horse")
        assert await connection.scalar(select(User.password_hash)) == before
        assert (await visitor.log_in("susan", "battery staple")).location == "/index"
        assert passwords.is_current(await connection.scalar(select(User.password_hash)))


async def test_clients_that_leave_free_no_slot_before_their_hash_is_done() -> None:
    before = _children()
    hasher = Hasher(1)
    await hasher.warm("pbkdf2:sha256:1")
    room = hasher.processes * (1 + passwords.QUEUE_PER_PROCESS)
    waiting = [
        asyncio.create_task(hasher.run(generate_password_hash, "x", "pbkdf2:sha256:20000"))
        for _ in range(room)
    ]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    for task in waiting:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    with pytest.raises(Busy):
        await hasher.run(generate_password_hash, "x", "pbkdf2:sha256:1")
    assert len(_children() - before) == 1
    await asyncio.gather(*hasher.tasks)
    result, seconds = await hasher.run(generate_password_hash, "x", "pbkdf2:sha256:1")
    assert result.startswith("pbkdf2:sha256:1$")
    assert seconds > 0
    assert len(_children() - before) == 1


DIE = "__import__('os').kill(__import__('os').getpid(), 9)"


async def test_a_process_that_dies_is_replaced_and_its_hash_begun_anew(tmp_path: Path) -> None:
    before = _children()
    hasher = Hasher(1)
    trace = str(tmp_path / "died")
    once = f"__import__('os').path.exists({trace!r}) or (__import__('os').mkdir({trace!r}), {DIE})"
    assert (await hasher.run(eval, once))[0] is True
    assert len(_children() - before) == 1


async def test_processes_that_die_again_are_too_busy_and_the_next_one_hashes() -> None:
    hasher = Hasher(1)
    with pytest.raises(Busy):
        await hasher.run(eval, DIE)
    result, _ = await hasher.run(generate_password_hash, "x", CHEAP_HASH)
    assert result.startswith(CHEAP_HASH)


def _children() -> set[str]:
    """Return the processes of this one; other tests' servers are among them."""
    return set(Path("/proc/self/task").joinpath(str(_pid()), "children").read_text().split())


def _pid() -> int:
    return int(Path("/proc/self").resolve().name)


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_full_queue_is_answered_503_with_retry_after(app: Quart) -> None:
    class Full(Hasher):
        async def run(self, function: Callable[..., Any], *arguments: str) -> tuple[Any, float]:
            raise Busy

    await make_user("susan")
    app.extensions["passwords"] = Full(0)
    page = await Visitor(app).log_in("susan")
    assert page.status == 503
    assert int(page.response.headers["Retry-After"]) > 0
    async with writing() as session:
        await session.execute(update(User).values(about_me="still works"))
