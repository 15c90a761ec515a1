"""The life of a post: its own page, replies and their number, deletion, and the deletion of its author."""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from app.accounts import service
from app.accounts.models import User
from app.accounts.service import VerifiedCredentials
from app.database import DatabaseUnavailable, reading, writing
from app.posts.models import Mention, Post
from app.posts.service import AuthorDeletedError, PostDeletedError, create_post, delete_post
from tests.clients import Visitor, bodies
from tests.factories import PASSWORD, count, logged_in, make_follow, make_post, make_user
from tests.inspection import READS, sent_by, statements_of

ROUNDS = int(os.environ.get("FUZZ", "2"))


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"POSTS_PER_PAGE": 3}


async def replies(post_id: int) -> int | None:
    """Return the number of replies that is stored with the post."""
    async with reading() as connection:
        return await connection.scalar(select(Post.replies).where(Post.id == post_id))


async def test_the_time_of_a_post_links_to_its_page(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    post_id = await make_post(me, "hello")
    for path in ("/index", "/explore", "/user/susan"):
        assert f'href="/post/{post_id}"><time ' in (await susan.get(path)).text
    page = await susan.get(f"/post/{post_id}")
    assert page.title == "Post by susan - Microblog"
    assert bodies(page) == ["hello"]
    assert 'href="/user/susan"' in page.text


@pytest.mark.parametrize(
    "number", ["4711", "0", "007", "-1", "1.0", "1_0", "x", "%D9%A1", "%00", "2147483648", "9" * 400]
)
async def test_an_unknown_post_is_not_found(app: Quart, number: str) -> None:
    susan, me = await logged_in(app, "susan")
    post_id = await make_post(me, "hello")
    token = (await susan.get(f"/post/{post_id}")).token
    assert (await susan.get(f"/post/{number}")).status == 404
    assert (await susan.get(f"/post/{number}/delete")).status == 404
    assert (await susan.post(f"/post/{number}/reply", post="hi", csrf_token=token)).status == 404
    assert await count(Post) == 1


async def test_guests_are_sent_to_the_login_and_back_to_the_post(app: Quart) -> None:
    guest = Visitor(app)
    assert (await guest.get("/post/1")).location == "/login?next=/post/1"
    assert (await guest.post("/post/1/reply", post="hi")).location == "/login?next=/post/1"
    assert (await guest.get("/post/1/delete")).location == "/login?next=/post/1/delete"


async def test_a_post_is_deleted_by_its_author_after_a_question(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    post_id = await make_post(me, "regrettable")
    page = await susan.get(f"/post/{post_id}/delete")
    assert "Delete this post?" in page.text
    assert bodies(page) == ["regrettable"]
    assert await count(Post) == 1
    assert (await susan.post(f"/post/{post_id}/delete", csrf_token="stale")).status == 400
    assert (await susan.submit(f"/post/{post_id}/delete")).location == "/index"
    assert (await susan.get("/index")).flashes == ["Your post has been deleted."]
    assert await count(Post) == 0
    assert (await susan.get(f"/post/{post_id}")).status == 404


async def test_nobody_else_can_delete_a_post_or_is_offered_to(app: Quart) -> None:
    _, david = await logged_in(app, "david")
    susan, me = await logged_in(app, "susan")
    post_id = await make_post(david, "mine")
    await make_post(me, "my own")
    token = (await susan.get("/index")).token
    assert "/delete" not in (await susan.get(f"/post/{post_id}")).text
    assert (await susan.get("/explore")).text.count("/delete") == 1
    assert (await susan.get(f"/post/{post_id}/delete")).status == 404
    assert (await susan.post(f"/post/{post_id}/delete", csrf_token=token)).status == 404
    with pytest.raises(PostDeletedError):
        await delete_post(me, post_id)
    assert await count(Post) == 2


async def test_deleting_twice_deletes_once(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    original = await make_post(me, "original")
    post_id = await create_post(me, "reply", reply_to=original)
    await create_post(me, "other reply", reply_to=original)
    token = (await susan.get(f"/post/{post_id}/delete")).token
    page = await susan.post(f"/post/{post_id}/delete", csrf_token=token)
    assert page.location == f"/post/{original}"
    assert (await susan.get(f"/post/{original}")).flashes == ["Your post has been deleted."]
    assert (await susan.post(f"/post/{post_id}/delete", csrf_token=token)).location == "/index"
    assert (await susan.get("/index")).flashes == ["Your post has been deleted."]
    last = await create_post(me, "last reply", reply_to=original)
    results = await asyncio.gather(*(delete_post(me, last) for _ in range(4)), return_exceptions=True)
    assert sorted(map(repr, results)) == ["None", *3 * [f"PostDeletedError({last})"]]
    assert await replies(original) == 1


async def test_the_id_of_a_deleted_post_is_not_used_again(app: Quart) -> None:
    me = await make_user("susan")
    post_id = await create_post(me, "first")
    await delete_post(me, post_id)
    assert await create_post(me, "second") > post_id


async def test_replies_are_listed_oldest_first_and_in_timelines(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    mary, david = await make_user("mary"), await make_user("david")
    await make_follow(me, david)
    original = await make_post(mary, "what time is it?")
    page = await susan.submit(f"/post/{original}/reply", page=f"/post/{original}", post="noon")
    assert page.location == f"/post/{original}"
    await create_post(david, "later", reply_to=original)
    page = await susan.get(f"/post/{original}")
    assert page.flashes == ["Your reply is now live!"]
    assert bodies(page) == ["what time is it?", "noon", "later"]
    page = await susan.get("/index")
    assert "At most 140 characters" in page.text  # without JavaScript; site.js shows how many are left
    assert bodies(page) == ["later", "noon"]
    assert (
        page.text.count(
            f'In reply to <a href="/post/{original}" dir="auto"><b>mary</b>: what time is it?</a>'
        )
        == 2
    )
    assert re.search(
        rf'<a href="/post/{original}"><svg.*?</svg>2 replies</a>', (await susan.get("/explore")).text
    )


async def test_pages_of_replies_reach_every_one_in_both_directions(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    original = await make_post(me, "original")
    for number in range(8):
        await create_post(me, f"reply {number}", reply_to=original)
    pages = await susan.walk(f"/post/{original}")
    seen = [bodies(page)[1:] for page in pages]
    assert seen == [[f"reply {number}" for number in numbers] for numbers in ((0, 1, 2), (3, 4, 5), (6, 7))]
    assert "Later replies" in pages[0].text
    assert "Earlier replies" in pages[-1].text
    pages = await susan.walk(pages[-1].paging["prev"], "prev")
    assert [bodies(page)[1:] for page in pages] == seen[-2::-1]
    page = await susan.get(f"/post/{original}?after=nonsense")
    assert bodies(page)[1:] == seen[0]


@pytest.mark.parametrize(
    ("body", "message"),
    [("", "This field is required."), ("x" * 141, "Too long by 1: at most 140 characters.")],
)
async def test_a_reply_follows_the_rules_of_posts(app: Quart, body: str, message: str) -> None:
    susan, me = await logged_in(app, "susan")
    original = await make_post(me, "original")
    page = await susan.submit(f"/post/{original}/reply", page=f"/post/{original}", post=body)
    assert (page.status, page.errors("post")) == (200, [message])
    assert page.title == "Post by susan - Microblog"
    assert await count(Post) == 1


async def test_a_reply_to_a_post_deleted_at_that_moment_is_kept_in_the_box(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    original = await make_post(me, "original")
    token = (await susan.get(f"/post/{original}")).token
    await delete_post(me, original)
    page = await susan.post(f"/post/{original}/reply", post="worth keeping", csrf_token=token)
    assert page.status == 404
    assert "The post that you replied to has been deleted. Your reply has not been posted." in page.text
    assert "worth keeping</textarea>" in page.text
    assert 'action="/index"' in page.text
    with pytest.raises(PostDeletedError):
        await create_post(me, "late", reply_to=original)
    assert await count(Post) == 0


async def test_replies_at_the_same_instant_are_all_counted(app: Quart) -> None:
    authors = [await make_user(f"user{number}") for number in range(5)]
    original = await make_post(authors[0], "original")
    texts = [(who, text) for text in ("me too", "me as well") for who in authors]
    ids = await asyncio.gather(*(create_post(who, text, reply_to=original) for who, text in texts))
    assert await replies(original) == 10
    await asyncio.gather(*(delete_post(authors[number % 5], ids[number]) for number in range(7)))
    assert await replies(original) == 3


async def test_replies_and_the_deletion_of_their_post_do_not_disturb_each_other(app: Quart) -> None:
    authors = [await make_user(f"user{number}") for number in range(4)]
    for _ in range(3):
        original = await make_post(authors[0], "original")
        early = await create_post(authors[1], "early", reply_to=original)
        results = await asyncio.gather(
            *(create_post(who, "late", reply_to=original) for who in authors),
            delete_post(authors[0], original),
            delete_post(authors[1], early),
            return_exceptions=True,
        )
        assert all(isinstance(result, int | None | PostDeletedError) for result in results), results
    async with reading() as connection:
        kept = (await connection.execute(select(Post.reply_to, Post.is_reply))).all()
    assert set(kept) <= {(None, True)}


async def test_a_reply_to_a_deleted_post_says_so(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    original = await make_post(me, "original")
    answer = await create_post(me, "answer", reply_to=original)
    await delete_post(me, original)
    for path in ("/index", "/explore", "/user/susan", f"/post/{answer}"):
        assert "In reply to a deleted post" in (await susan.get(path)).text


async def test_deleting_an_account_corrects_the_number_of_replies_of_others(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    david = await make_user("david")
    theirs, mine = await make_post(david, "theirs"), await make_post(me, "mine")
    for author, text in ((me, "hi"), (me, "hello"), (david, "hi")):
        await create_post(author, f"{text} @susan", reply_to=theirs)
        await create_post(author, f"{text} here", reply_to=mine)
    assert await replies(theirs) == 3
    page = await susan.submit("/delete_account", current=PASSWORD, sure="y")
    assert page.location == "/login"
    assert await replies(theirs) == 1
    assert await count(Post) == 3
    assert await count(Mention) == 0


async def test_the_data_of_a_person_tells_replies_and_mentions(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    david = await make_user("david")
    original = await create_post(david, "@susan, look!")
    await create_post(me, "@david I see", reply_to=original)
    await susan.submit("/download_data")
    [message] = await sent_by(app)
    data = json.loads(message.attachments[0].data)
    assert [(post["body"], post["reply_to"]) for post in data["posts"]["listed"]] == [
        ("@david I see", original)
    ]
    assert [(post["username"], post["body"]) for post in data["mentions"]["listed"]] == [
        ("david", "@susan, look!")
    ]


async def test_the_page_of_a_post_takes_three_statements(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    original = await make_post(me, "original")
    for number in range(5):
        await create_post(me, f"@susan {number}", reply_to=original)
    page, statements = await statements_of(susan, f"/post/{original}")
    assert page.status == 200
    assert len(statements) == 3
    assert all(sql.upper().startswith(READS) for sql in statements)


async def test_a_post_written_by_microblog_itself_has_no_replies(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    async with writing() as session:
        await (await session.connection()).exec_driver_sql(
            f"INSERT INTO post (body, timestamp, user_id) VALUES ('old', '2026-11-20 12:00:00', {me})"
        )
    assert "</svg>Reply</a>" in (await susan.get("/explore")).text


async def wrongly_counted() -> list[int]:
    """Return the ids of posts whose number of replies is not what is stored."""
    reply = aliased(Post)
    number = select(func.count()).where(reply.reply_to == Post.id).correlate(Post).scalar_subquery()
    async with reading() as connection:
        return list((await connection.execute(select(Post.id).where(Post.replies != number))).scalars())


async def test_accounts_are_deleted_while_others_reply(app: Quart) -> None:
    for turn in range(ROUNDS):
        people = [await make_user(f"user{turn}-{number}") for number in range(4)]
        posts = [await make_post(author, "original") for author in people]
        answers = [await create_post(who, "@user0", reply_to=post) for who in people for post in posts]
        versions = await stored_versions(people)
        results = await asyncio.gather(
            *(
                create_post(who, f"@user{turn}-0 me too", reply_to=post)
                for who in people
                for post in posts[:2]
            ),
            *(service.delete_account(VerifiedCredentials(who, versions[who])) for who in people[:2]),
            *(create_post(who, "and me", reply_to=answer) for who in people for answer in answers[:2]),
            *(delete_post(people[number // 4], answers[number]) for number in (2, 9, 14)),
            return_exceptions=True,
        )
        fine = int | None | PostDeletedError | AuthorDeletedError | DatabaseUnavailable  # a busy machine
        assert [result for result in results if not isinstance(result, fine)] == []
        assert await wrongly_counted() == []


async def stored_versions(people: list[int]) -> dict[int, int]:
    async with reading() as connection:
        rows = await connection.execute(select(User.id, User.credentials_version).where(User.id.in_(people)))
        return dict(iter(rows))
