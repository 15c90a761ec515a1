"""PostgreSQL down, restarted or hanging: a 503 page in time, and recovery without a restart."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import select

from app.database import DatabaseUnavailable, writing
from app.posts.models import Post
from tests.clients import Page, Visitor
from tests.database_servers import PostgresServer, require_postgres
from tests.factories import count
from tests.inspection import connections_in_use, database_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.database_limits,
    pytest.mark.parametrize("database_kind", ["postgresql"]),
]

ANSWER_SECONDS = 3.0
NAP_SECONDS = 0.05


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server of this module's own: it is stopped and frozen, which others would feel."""
    with PostgresServer(require_postgres(), tmp_path_factory.mktemp("pg"), settings=()) as server:
        yield server


@contextmanager
def down(server: PostgresServer) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


FAULTS = pytest.mark.parametrize("fault", [down, frozen])


async def timed(answer: Any) -> Any:
    """Return what `answer` returns; fail if that takes ANSWER_SECONDS.

    They are counted in naps, which take longer when the machine is busy.
    """
    naps = 0

    async def count_naps() -> None:
        nonlocal naps
        while True:
            await asyncio.sleep(NAP_SECONDS)
            naps += 1

    counting = asyncio.create_task(count_naps())
    try:
        return await answer
    finally:
        counting.cancel()
        assert naps * NAP_SECONDS < ANSWER_SECONDS


def is_the_503_page(page: Page) -> bool:
    return (
        page.status == 503
        and page.title == "Temporarily Unavailable - Microblog"
        and bool(page.response.headers["Retry-After"])
    )


@FAULTS
async def test_pages_that_need_the_database_get_503_in_time_until_it_is_back(
    app: Quart, susan: Visitor, postgres_server: PostgresServer, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.health.CACHE_SECONDS", 0.0)  # the last answer was 503
    guest = Visitor(app)
    tokens = {"guest": (await guest.get("/login")).token, "susan": (await susan.get("/index")).token}
    login = {"username": "susan", "password": "correct horse", "csrf_token": tokens["guest"]}
    with fault(postgres_server):
        *pages, login_page, health, ready = await asyncio.gather(
            timed(susan.get("/index")),
            timed(susan.get("/explore")),
            timed(susan.get("/user/susan")),
            timed(susan.post("/index", post="lost", csrf_token=tokens["susan"])),
            timed(guest.post("/login", **login)),
            timed(guest.post("/hello", name="Zoe", csrf_token=tokens["guest"])),
            timed(guest.get("/login")),
            timed(guest.get("/healthz")),
            timed(guest.get("/readyz")),
        )
        assert [is_the_503_page(page) for page in pages] == [True] * len(pages)
        assert (login_page.status, health.status, ready.status) == (200, 200, 503)
    assert (await susan.get("/index")).status == 200
    assert (await guest.get("/readyz")).status == 200
    assert (await guest.post("/login", **login)).location == "/index"


@FAULTS
async def test_under_load_all_requests_are_answered_in_time_and_no_connection_leaks(
    app: Quart, susan: Visitor, postgres_server: PostgresServer, fault: Any
) -> None:
    token = (await susan.get("/index")).token

    async def ask(number: int) -> Page:
        if number % 4 == 0:
            page: Page = await timed(susan.post("/index", post=f"n{number}", csrf_token=token))
        else:
            page = await timed(susan.get("/index"))
        return page

    warm = await asyncio.gather(*(ask(number) for number in range(40)))
    assert {page.status for page in warm} <= {200, 302}
    with fault(postgres_server):
        pages = await asyncio.gather(*(ask(number) for number in range(60)))
        assert {page.status for page in pages} == {503}
    pages = await asyncio.gather(*(ask(number) for number in range(40)))
    assert {page.status for page in pages} <= {200, 302}
    assert connections_in_use(database_of(app).writer) == 0


@FAULTS
async def test_acknowledged_posts_are_stored(
    app: Quart, susan: Visitor, postgres_server: PostgresServer, fault: Any, tmp_path: Path
) -> None:
    token = (await susan.get("/index")).token
    said = asyncio.Event()
    statuses: list[int] = []

    async def talk(speaker: int) -> None:
        for number in range(25):
            page = await timed(susan.post("/index", post=f"{speaker} {number}", csrf_token=token))
            statuses.append(page.status)
            if len(statuses) == 20:
                said.set()
            if page.status == 503:
                return

    talking = [asyncio.create_task(talk(speaker)) for speaker in range(4)]
    await said.wait()
    with fault(postgres_server):
        await asyncio.wait(talking)
    for task in talking:
        task.result()
    assert await count(Post) >= statuses.count(302)
    assert set(statuses) <= {302, 503}


async def test_a_courier_waits_for_a_hanging_server_no_longer_than_a_page(
    app: Quart, postgres_server: PostgresServer
) -> None:
    async def write() -> None:
        async with writing() as session:
            await session.execute(select(1))
            postgres_server.signal(signal.SIGSTOP)
            await session.execute(select(1))

    try:
        with pytest.raises(DatabaseUnavailable):
            await timed(write())
    finally:
        postgres_server.signal(signal.SIGCONT)
    async with writing() as session:
        assert await session.scalar(select(1)) == 1
