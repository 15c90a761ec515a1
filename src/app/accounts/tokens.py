"""The tokens of mailed links: JWTs for one purpose each, valid until the account changes."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeGuard

import jwt
from quart import current_app

ALGORITHM = "HS256"
MAX_TOKEN_LENGTH = 1024
INTEGER_LIMIT = 2**31

RESET = "reset_password"
CHANGE_EMAIL = "change_email"
CONFIRM_REGISTRATION = "confirm_registration"


class InvalidToken(Exception):
    """A token that this site did not sign, or not for this purpose, or that is no longer valid."""


@dataclass(frozen=True, slots=True)
class TokenContent:
    """The content of a token.

    `subject`: the id of the account, or of the registration for CONFIRM_REGISTRATION. `version`: its
    credentials_version when the token was made. `address`: the new address, for CHANGE_EMAIL.
    """

    subject: int
    version: int
    address: str = ""


def mint(
    purpose: str,
    subject: int,
    version: int = 0,
    *,
    expires_in: float,
    requested_at: datetime | None = None,
    address: str = "",
) -> str:
    """Return a token for `purpose`, valid for `expires_in` seconds from `requested_at` (default: now)."""
    start = requested_at or datetime.now(UTC)
    payload: dict[str, object] = {
        purpose: subject,
        "version": version,
        "exp": start + timedelta(seconds=expires_in),
    }
    if address:
        payload["address"] = address
    return jwt.encode(payload, current_app.config["SECRET_KEY"], algorithm=ALGORITHM)


def read(purpose: str, token: str) -> TokenContent:
    """Return the content of `token`; raises InvalidToken unless it is for `purpose` and has not expired."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise InvalidToken("the token is too long")
    keys = [current_app.config["SECRET_KEY"], *current_app.config["SECRET_KEY_FALLBACKS"]]
    for key in keys:
        try:
            payload = jwt.decode(token, key, algorithms=[ALGORITHM], options={"require": ["exp"]})
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidTokenError, ValueError, OverflowError) as error:
            raise InvalidToken("the token cannot be read, or has expired") from error
        subject, version, address = (payload.get(name) for name in (purpose, "version", "address"))
        if not (_is_number(subject) and _is_number(version)):
            raise InvalidToken(f"the token is not for {purpose}")
        return TokenContent(subject, version, address if isinstance(address, str) else "")
    raise InvalidToken("the token is signed with another key")


def _is_number(value: object) -> TypeGuard[int]:
    """Return whether `value` is a number that an INTEGER column can hold."""
    return type(value) is int and 0 <= value < INTEGER_LIMIT
