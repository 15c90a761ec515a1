"""`microblog search`: the index is compared with the posts and corrected, also while people write."""

from __future__ import annotations

import asyncio

import pytest
from quart import Quart
from sqlalchemy import text

from app.database import reading, writing
from app.posts.service import create_post
from app.posts.words import words
from app.search import cli
from tests import processes
from tests.factories import make_post, make_user
from tests.inspection import database_of
from tests.processes import Result

SETTINGS = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "BASE_URL": "http://127.0.0.1:8000",
    "ADMINS": "admin@example.com",
}


async def search(app: Quart, command: str) -> Result:
    """Run `microblog search COMMAND`, in a thread because it has its own event loop."""
    url = database_of(app).url.render_as_string(hide_password=False)
    return await asyncio.to_thread(processes.microblog, "search", command, DATABASE_URL=url, **SETTINGS)


async def execute(statement: str) -> None:
    async with writing() as session:
        await session.execute(text(statement))


async def indexed() -> dict[int, set[str]]:
    async with reading() as connection:
        statement = cli.READ[connection.dialect.name]
        rows = (await connection.execute(text(statement), {"after": 0, "last": 10_000})).all()
    return {post_id: set(line.split()) for post_id, line in rows}


async def faulty_index(app: Quart) -> dict[int, set[str]]:
    """Store 7 posts, damage the index in every way that it can be damaged, and return what it should hold."""
    author = await make_user("author")
    bodies = {
        await make_post(author, body): body for body in [f"post {n} #tag 你好" for n in range(6)] + ["!"]
    }
    one, two, *_ = bodies
    is_sqlite = database_of(app).is_sqlite
    key = "rowid" if is_sqlite else "post_id"
    await execute(f"DELETE FROM post_search WHERE {key} = {one}")
    await execute(f"UPDATE post_search SET words = 'wrong' WHERE {key} = {two}")
    if is_sqlite:  # PostgreSQL's foreign key forbids it
        await execute("INSERT INTO post_search (rowid, words) VALUES (4711, 'lost')")
    return {post_id: set(words(body)) for post_id, body in bodies.items()}


@pytest.mark.parametrize("batch", [1, 3, 7, 1000])
async def test_check_finds_what_rebuild_corrects(
    app: Quart, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "BATCH", batch)
    right = await faulty_index(app)
    surplus = database_of(app).is_sqlite
    done = await search(app, "check")
    assert (done.returncode, done.stdout) == (
        1,
        "The search index is wrong: 1 post missing, 1 post with other words, "
        f"{'1 entry' if surplus else '0 entries'} without a post. Run `microblog search rebuild`.\n",
    )
    done = await search(app, "rebuild")
    assert done.returncode == 0
    assert done.stdout.endswith(f"Compared 7 posts and wrote {2 + surplus} entries.\n")
    assert await indexed() == right
    done = await search(app, "check")
    assert (done.returncode, done.stdout) == (0, "The search index is right for 7 posts.\n")
    done = await search(app, "rebuild")
    assert done.stdout.endswith("Compared 7 posts and wrote 0 entries.\n")


async def test_an_empty_site_has_nothing_to_rebuild(app: Quart) -> None:
    assert (await search(app, "check")).stdout == "The search index is right for 0 posts.\n"
    assert (await search(app, "rebuild")).stdout.endswith("Compared 0 posts and wrote 0 entries.\n")


async def test_a_rebuild_that_was_stopped_goes_on_where_it_was(
    app: Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "BATCH", 2)
    author = await make_user("author")
    for number in range(8):
        await make_post(author, f"post {number}")
    await execute("DELETE FROM post_search")
    real, calls = cli._write, 0

    async def stopped(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        await real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cli, "_write", stopped)
    assert (await search(app, "rebuild")).returncode != 0
    assert len(await indexed()) == 4
    monkeypatch.setattr(cli, "_write", real)
    assert (await search(app, "rebuild")).stdout.endswith("Compared 8 posts and wrote 4 entries.\n")


async def test_people_write_and_delete_while_it_runs(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "BATCH", 5)
    author = await make_user("author")
    ids = [await make_post(author, f"post {number}") for number in range(60)]
    await execute("DELETE FROM post_search")
    rebuilding = asyncio.create_task(search(app, "rebuild"))
    for post_id in ids[::-3]:
        await execute(f"DELETE FROM post WHERE id = {post_id}")
        await create_post(author, f"written meanwhile {post_id}")
    assert (await rebuilding).returncode == 0
    assert (await search(app, "check")).stdout == "The search index is right for 60 posts.\n"
