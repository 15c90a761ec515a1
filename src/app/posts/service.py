"""Write and delete posts, with what depends on them: mentions, numbers of replies and the search index.

On PostgreSQL, transactions lock accounts before posts, and a post before its replies, to avoid deadlocks.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import case, delete, func, insert, null, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.accounts.models import User
from app.accounts.names import canonical
from app.database import reading, writing
from app.posts.models import ADD_TO_SEARCH, Mention, Post
from app.posts.text import can_be_in, mentioned_names
from app.posts.words import words

REPEATED_WITHIN = timedelta(seconds=5)
"""The same text by the same author within this time is the same post: a double click, or a resent form."""


class AuthorDeletedError(LookupError):
    """The author's account was deleted while the post was being sent."""


class PostDeletedError(LookupError):
    """The post was deleted, perhaps only just now."""


async def create_post(
    author_id: int, body: str, *, language: str | None = None, reply_to: int | None = None
) -> int:
    """Store a post, unless its author has just stored the same, and return its id.

    `language`: a code that its author gave; it is not stored if the text is written in another script.
    Raises AuthorDeletedError and, for a reply, PostDeletedError.
    """
    if language and not can_be_in(language, body):
        language = None
    post = Post(
        body=body, user_id=author_id, language=language, reply_to=reply_to, is_reply=reply_to is not None
    )
    try:
        async with writing() as session:
            if (stored := await _just_stored(session, post)) is not None:
                return stored
            await add_post(session, post)
    except IntegrityError as error:
        if reply_to is not None and not await _exists(reply_to):
            raise PostDeletedError(reply_to) from error
        raise AuthorDeletedError(author_id) from error
    return post.id


async def _just_stored(session: AsyncSession, post: Post) -> int | None:
    """Return the id of the same post, if it was stored within REPEATED_WITHIN.

    On PostgreSQL, posts of one author wait for each other; on SQLite, all transactions do.
    """
    await session.execute(select(User.id).where(User.id == post.user_id).with_for_update(key_share=True))
    is_recent = Post.timestamp > datetime.now(UTC) - REPEATED_WITHIN
    is_same = (Post.body == post.body, Post.reply_to.is_not_distinct_from(post.reply_to))
    query = select(Post.id).where(
        Post.user_id == post.user_id, is_recent, *is_same, Post.is_reply == post.is_reply
    )
    return await session.scalar(query.order_by(Post.id).limit(1))


async def add_post(session: AsyncSession, post: Post) -> None:
    """Store a new post in a transaction; raises IntegrityError. This is the only place that does."""
    names = mentioned_names(post.body)
    people = await _lock_accounts(session, post.user_id, names) if names or post.is_reply else {}
    session.add(post)
    await session.flush()
    add_to_search = ADD_TO_SEARCH[session.get_bind().dialect.name]
    await session.execute(add_to_search, {"id": post.id, "words": " ".join(words(post.body))})
    if people:
        rows = [{"post_id": post.id, "name": name, "user_id": user_id} for name, user_id in people.items()]
        await session.execute(insert(Mention), rows)
    if post.reply_to is not None:
        counted = update(Post).where(Post.id == post.reply_to).values(replies=Post.replies + 1)
        await session.execute(counted.execution_options(synchronize_session=False))


async def _lock_accounts(session: AsyncSession, author_id: int, names: Iterable[str]) -> dict[str, int]:
    """Return the ids of the accounts that have one of `names`: exactly, or else ignoring case.

    On PostgreSQL, neither they nor the author can be deleted until the transaction ends.
    """
    forms = {name: canonical(name) for name in names}
    called = or_(User.username.in_(forms), User.username_canonical.in_(forms.values()))
    query = select(User.id, User.username, User.username_canonical).where(or_(User.id == author_id, called))
    query = query.order_by(User.id).with_for_update(read=True, key_share=True)
    rows = (await session.execute(query)).all()
    exact = {row.username: row.id for row in rows}
    ids = {row.username_canonical: row.id for row in rows}
    found = {name: exact.get(name, ids.get(form)) for name, form in forms.items()}
    return {name: user_id for name, user_id in found.items() if user_id is not None}


async def _exists(post_id: int) -> bool:
    async with reading() as connection:
        return await connection.scalar(select(Post.id).where(Post.id == post_id)) is not None


async def delete_post(author_id: int, post_id: int) -> None:
    """Delete an author's post; its replies stay. Raises PostDeletedError if there is no such post."""
    own = (Post.id == post_id, Post.user_id == author_id)
    answered = Post.id == select(Post.reply_to).where(*own).scalar_subquery()
    async with writing() as session:
        counted = update(Post).where(answered).values(replies=Post.replies - 1)
        await session.execute(counted.execution_options(synchronize_session=False))
        deleted = await session.execute(delete(Post).where(*own).returning(Post.id))
        if deleted.first() is None:
            raise PostDeletedError(post_id)


async def uncount_replies(session: AsyncSession, author_id: int) -> None:
    """Subtract the replies of an account that is about to be deleted from the numbers of replies.

    The same UPDATE clears `reply_to` in those of these posts that reply to the account's. If ON DELETE SET
    NULL did so in an update of its own, PostgreSQL would wait for their authors' accounts, which may be about
    to be deleted too.
    """
    answered = select(Post.reply_to).where(Post.user_id == author_id, Post.reply_to.is_not(None))
    affected = select(Post.id).where(or_(Post.user_id == author_id, Post.id.in_(answered)))
    await session.execute(affected.order_by(Post.id).with_for_update())
    reply = aliased(Post)
    lost = select(func.count()).where(reply.reply_to == Post.id, reply.user_id == author_id)
    own = select(reply.id).where(reply.user_id == author_id)
    counted = (
        update(Post)
        .where(Post.id.in_(answered))
        .values(
            replies=Post.replies - lost.correlate(Post).scalar_subquery(),
            reply_to=case((Post.reply_to.in_(own), null()), else_=Post.reply_to),
        )
    )
    await session.execute(counted.execution_options(synchronize_session=False))
