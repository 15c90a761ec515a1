"""What people can do about themselves and each other: be looked up, edit, follow and unfollow."""

from __future__ import annotations

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts import twins
from app.accounts.models import User, followers
from app.accounts.names import canonical
from app.accounts.service import Taken
from app.database import insert_into, writing
from app.profiles import queries


class Unknown(LookupError):
    """Nobody has this name."""


class Oneself(ValueError):
    """One does not follow oneself; `username` is one's name."""

    def __init__(self, username: str) -> None:
        super().__init__(username)
        self.username = username


async def edit(user_id: int, *, rename: str | None, about_me: str) -> None:
    """Store what the account says about itself, and its new name if it gets one.

    Raises Taken when the name is somebody's, also at the same instant.
    """
    try:
        async with writing() as session:
            if rename is not None:
                await _rename(session, user_id, rename)
            await session.execute(update(User).where(User.id == user_id).values(about_me=about_me))
    except IntegrityError as error:
        raise Taken(frozenset({"username"})) from error


async def follow(follower_id: int, username: str) -> str:
    """Make the account follow the person called `username`, and return that name as stored.

    Following twice is following once. Raises Unknown and Oneself.
    """
    followed_id, name = await _other(follower_id, username)
    try:
        async with writing() as session:
            await session.execute(
                insert_into(session, followers)
                .values(follower_id=follower_id, followed_id=followed_id)
                .on_conflict_do_nothing()
            )
    except IntegrityError as error:  # the person went away meanwhile
        raise Unknown(username) from error
    return name


async def unfollow(follower_id: int, username: str) -> str:
    """Make the account not follow the person called `username`, and return that name as stored.

    Raises Unknown and Oneself.
    """
    followed_id, name = await _other(follower_id, username)
    async with writing() as session:
        await session.execute(
            delete(followers).where(
                followers.c.follower_id == follower_id, followers.c.followed_id == followed_id
            )
        )
    return name


async def _other(follower_id: int, username: str) -> tuple[int, str]:
    found = await queries.identify(username)
    if found is None:
        raise Unknown(username)
    if found[0] == follower_id:
        raise Oneself(found[1])
    return found


async def _rename(session: AsyncSession, user_id: int, name: str) -> None:
    """Store the new name; who has the old one but for its case is now the one it is folded for."""
    own, folded = User.id == user_id, canonical(name)
    old = await session.scalar(select(User.username_canonical).where(own).with_for_update())
    await session.execute(update(User).where(own).values(username=name, username_canonical=folded))
    if old != folded:
        await twins.inherit_name(session, old)
