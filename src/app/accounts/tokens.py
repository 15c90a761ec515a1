"""Reset tokens: a JWT that says its purpose and dies with the state it was made for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeGuard

import jwt
from quart import current_app

ALGORITHM = "HS256"
LONGEST_TOKEN = 1024
LARGEST_INTEGER = 2**31


class InvalidToken(Exception):
    """A token that is not one of ours, or not for resetting a password."""


class ExpiredToken(InvalidToken):
    """A token of ours whose time is over."""


@dataclass(frozen=True, slots=True)
class ResetClaim:
    """What a reset token says: the account, and the version of its credentials it was made for."""

    user_id: int
    credentials_version: int


def mint_reset(
    user_id: int,
    credentials_version: int,
    *,
    expires_in: float,
    requested_at: datetime | None = None,
) -> str:
    """Return a reset token good for `expires_in` seconds from `requested_at` (aware; now by default)."""
    start = requested_at or datetime.now(UTC)
    payload = {
        "reset_password": user_id,
        "version": credentials_version,
        "exp": start + timedelta(seconds=expires_in),
    }
    return jwt.encode(payload, current_app.config["SECRET_KEY"], algorithm=ALGORITHM)


def read_reset(token: str) -> ResetClaim:
    """Return what `token` claims; raises InvalidToken, or ExpiredToken when only its time is over."""
    if len(token) > LONGEST_TOKEN:
        raise InvalidToken("the token is too long")
    keys = [current_app.config["SECRET_KEY"], *current_app.config["SECRET_KEY_FALLBACKS"]]
    for key in keys:
        try:
            payload = jwt.decode(token, key, algorithms=[ALGORITHM], options={"require": ["exp"]})
        except jwt.InvalidSignatureError:
            continue
        except jwt.ExpiredSignatureError as error:
            raise ExpiredToken("the token has expired") from error
        except (jwt.InvalidTokenError, ValueError, OverflowError) as error:
            raise InvalidToken("the token cannot be read") from error
        return _claim(payload)
    raise InvalidToken("the token is signed with another key")


def _claim(payload: dict[str, object]) -> ResetClaim:
    user_id, version = payload.get("reset_password"), payload.get("version")
    if not (_is_number(user_id) and _is_number(version)):
        raise InvalidToken("the token is not for resetting a password")
    return ResetClaim(user_id, version)


def _is_number(value: object) -> TypeGuard[int]:
    """Return whether `value` is a number that a column of ours can hold."""
    return type(value) is int and 0 <= value < LARGEST_INTEGER
