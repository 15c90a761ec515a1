"""Edit profiles, follow and unfollow."""

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from app.accounts import service as accounts
from app.accounts.models import User, followers
from app.accounts.names import canonical
from app.accounts.service import Taken
from app.database import insert_into, writing
from app.profiles import queries


class UserNotFoundError(LookupError):
    """There is no user with this name."""


class SelfFollowError(ValueError):
    """People cannot follow themselves; `username` is the name as stored."""

    def __init__(self, username: str) -> None:
        super().__init__(username)
        self.username = username


async def update_profile(user_id: int, *, new_name: str | None, **values: str | None) -> None:
    """Store columns of the account, and its new name if it gets one.

    The canonical form of the old name goes to the next account that differs from it only by case. Raises
    Taken if another account has the new name, even if it got it only just now.
    """
    this = User.id == user_id
    try:
        async with writing() as session:
            await session.execute(update(User).where(this).values(values))
            if new_name is not None:
                names = {"username": new_name, "username_canonical": canonical(new_name)}
                query = select(User.username_canonical).where(this).with_for_update()
                old = await session.scalar(query)
                await session.execute(update(User).where(this).values(names))
                if old != names["username_canonical"]:
                    await accounts.release(session, "username", old)
    except IntegrityError as error:
        raise Taken(frozenset({"username"})) from error


async def follow(follower_id: int, username: str) -> str:
    """Make the account follow the person called `username`, and return that name as stored.

    Following somebody twice changes nothing. Raises UserNotFoundError and SelfFollowError.
    """
    followed_id, name = await _other(follower_id, username)
    try:
        async with writing() as session:
            await session.execute(
                insert_into(session, followers)
                .values(follower_id=follower_id, followed_id=followed_id)
                .on_conflict_do_nothing()
            )
    except IntegrityError as error:  # the account was deleted meanwhile
        raise UserNotFoundError(username) from error
    return name


async def unfollow(follower_id: int, username: str) -> str:
    """Make the account stop following the person called `username`, and return that name as stored.

    Raises UserNotFoundError and SelfFollowError.
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
    user = await queries.identify(username)
    if user is None:
        raise UserNotFoundError(username)
    if user[0] == follower_id:
        raise SelfFollowError(user[1])
    return user
