"""Rate limits for attempts with a password: logins, and changes confirmed with the current password.

All pages that ask for a password share these counts, by peer and by the digest of the account's canonical
name; attempts are counted before anything is hashed. A browser that the account knows has a count of its own,
so that guesses from elsewhere cannot lock it out. All unknown browsers share a count per account; when it is
used up each of them is slowed down, but none locked out: one may be the owner's. Source: OWASP
Authentication Cheat Sheet, "Login Throttling".

Other limits are constants of the routes that count them.
"""

from hashlib import sha256

from app.accounts import devices
from app.accounts.auth import known_device
from app.accounts.names import canonical
from app.web import limits
from app.web.forms import Form
from app.web.security import current_peer

ATTEMPTS = "10 per 5 minutes"
ATTEMPTS_PER_PEER = "100 per 5 minutes"
ATTEMPTS_PER_NAME = "100 per hour"
ATTEMPTS_WHEN_SLOWED = "2 per 30 minutes"


async def count_password(form: Form, username: str) -> list[limits.Limit]:
    """Count an attempt with the password of `username`, whether or not there is such an account.

    Returns the counts to be cleared when the password is right (`limits.clear`). If a limit is exceeded, the
    list is empty and `form` shows how long to wait.
    """
    peer, device = current_peer(), known_device()
    name = sha256(canonical(username).encode("utf-8", "replace")).hexdigest()
    if device is not None and await devices.is_known(device, username):
        own = (ATTEMPTS, f"login-device:{devices.digest(device)}:{name}")
        return [own] if await form.count(own, (ATTEMPTS_PER_PEER, f"login-known:{peer}")) else []
    own = (ATTEMPTS, f"login:{peer}:{name}")
    slowed = (ATTEMPTS_WHEN_SLOWED, f"login-slow:{peer}:{name}")
    if not await form.count(own, (ATTEMPTS_PER_PEER, f"login-peer:{peer}")):
        return []
    if await limits.count(ATTEMPTS_PER_NAME, f"login-name:{name}") and not await form.count(slowed):
        return []
    return [own, slowed]
