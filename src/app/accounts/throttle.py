"""Rate limits for logins, for confirming changes with the current password, and for using mailed links.

Attempts are counted before the work is done, by peer and by the digest of the canonical name. A browser that
the account knows has a count of its own, so that guesses from elsewhere cannot lock it out. All unknown
browsers share a count per account; when it is used up each of them is slowed down, but none locked out: one
may be the owner's. Source: OWASP Authentication Cheat Sheet, "Login Throttling".

The limits of registrations and of requests for a reset are constants of `routes`.
"""

from __future__ import annotations

from hashlib import sha256

from app.accounts import devices
from app.accounts.names import canonical
from app.web import limits
from app.web.security import client_address

LOGINS = "10 per 5 minutes"
LOGINS_PER_PEER = "100 per 5 minutes"
LOGINS_PER_NAME = "100 per hour"
LOGINS_WHEN_SLOWED = "2 per 30 minutes"
CONFIRMATIONS = "10 per 5 minutes"
LINKS_PER_PEER = "60 per hour"


async def count_login(username: str, device: str | None) -> list[limits.Limit]:
    """Count an attempt to log in as `username` from a browser with the token `device`, or without one.

    Returns the counts to be cleared when the login succeeds (`limits.clear`). Raises TooManyRequests, whether
    or not there is such an account.
    """
    peer = client_address()
    name = sha256(canonical(username).encode("utf-8", "replace")).hexdigest()
    if device is not None and await devices.is_known(device, username):
        limit = (LOGINS, f"login-device:{devices.digest(device)}:{name}")
        await limits.count(limit)
        return [limit]
    unknown = (LOGINS, f"login:{peer}:{name}")
    slowed = (LOGINS_WHEN_SLOWED, f"login-slow:{peer}:{name}")
    await limits.count(unknown, (LOGINS_PER_PEER, f"login-peer:{peer}"))
    if await limits.hit(LOGINS_PER_NAME, f"login-name:{name}"):
        await limits.count(slowed)
    return [unknown, slowed]


async def count_confirmation(user_id: int) -> None:
    """Count an attempt to confirm a change with the current password; raises TooManyRequests."""
    await limits.count((CONFIRMATIONS, f"password:{client_address()}:{user_id}"))


async def count_link(purpose: str) -> None:
    """Count the use of a mailed link for `purpose` by this peer; raises TooManyRequests."""
    await limits.count((LINKS_PER_PEER, f"{purpose}-link:{client_address()}"))
