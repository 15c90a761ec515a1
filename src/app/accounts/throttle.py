"""How often somebody may try to log in, guess a password that a page asks for again, or use a mailed link.

Everything is counted before the work, by the peer and by the canonical name, of which only a digest is
kept. A browser that the account knows has a count of its own, so that whoever guesses elsewhere cannot lock
it out. Strangers together have a count per account; once it is used up each of them is slowed down, and none
shut out: the owner may be among them. Source: OWASP Authentication Cheat Sheet, "Login Throttling".
"""

from __future__ import annotations

from hashlib import sha256

from app.accounts import devices
from app.accounts.names import canonical
from app.web import limits
from app.web.security import client_address

LOGINS = "10 per 5 minutes"
LOGINS_PER_PEER = "100 per 5 minutes"
LOGINS_OF_STRANGERS = "100 per hour"
LOGINS_WHEN_SLOWED = "2 per 30 minutes"
CONFIRMATIONS = "10 per 5 minutes"
LINKS_PER_PEER = "60 per hour"


async def count_login(username: str, device: str | None) -> list[limits.Limit]:
    """Count an attempt to log in as `username` from a browser with the token `device`, or without one.

    Returns the counts that a success begins anew (`limits.clear`): only who guesses is to be kept out. Raises
    TooManyRequests, for accounts that there are and that there are not.
    """
    peer, name = client_address(), _name_key(username)
    if device is not None and await devices.is_known(device, username):
        known = (LOGINS, f"login-device:{devices.digest(device)}:{name}")
        await limits.count(known)
        return [known]
    stranger = (LOGINS, f"login:{peer}:{name}")
    slowed = (LOGINS_WHEN_SLOWED, f"login-slow:{peer}:{name}")
    await limits.count(stranger, (LOGINS_PER_PEER, f"login-peer:{peer}"))
    if await limits.hit(LOGINS_OF_STRANGERS, f"login-name:{name}"):
        await limits.count(slowed)
    return [stranger, slowed]


async def count_confirmation(user_id: int) -> None:
    """Count somebody logged in who gives the account's password once more; raises TooManyRequests."""
    await limits.count((CONFIRMATIONS, f"password:{client_address()}:{user_id}"))


async def count_link(purpose: str) -> None:
    """Count a peer that uses up a mailed link for `purpose`; raises TooManyRequests."""
    await limits.count((LINKS_PER_PEER, f"{purpose}-link:{client_address()}"))


def _name_key(username: str) -> str:
    return sha256(canonical(username).encode("utf-8", "replace")).hexdigest()
