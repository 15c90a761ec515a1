"""What an adopted Microblog v0.10 database holds that wants a look: accounts today's rules would refuse.

They keep working; `microblog db upgrade` and `microblog db check` list them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import User
from app.accounts.names import canonical
from app.quart_mail import BadAddressError
from app.quart_mail.address import mailbox

ACCEPTED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
READABLE_HASH = re.compile(r"(scrypt|pbkdf2)(:[\w.]+)*\$[^$]+\$[0-9a-f]+")
WHITE_SPACE = re.compile(r"\s")
UNKNOWN_ADDRESS = "@unknown.invalid"


async def findings(connection: AsyncConnection) -> list[str]:
    """Return a line for each account that wants a look: what is unusual, and what to do."""
    rows = (
        await connection.execute(
            select(
                User.id,
                User.username,
                User.email,
                User.password_hash,
                User.username_canonical,
                User.email_canonical,
            ).order_by(User.id)
        )
    ).all()
    names = {row.username_canonical: row for row in rows}
    addresses = {row.email_canonical: row for row in rows}
    return [
        f"Account {row.id} ({row.username!r}): {line}"
        for row in rows
        for line in _about(row, names, addresses)
    ]


def _about(
    row: Row[*tuple[Any, ...]],
    names: Mapping[str | None, Row[*tuple[Any, ...]]],
    addresses: Mapping[str | None, Row[*tuple[Any, ...]]],
) -> Iterator[str]:
    if row.username_canonical is None:
        twin = names.get(canonical(row.username))
        yield (
            f"its name is that of {twin.username!r} (account {twin.id}) but for its case; "
            if twin
            else "its name cannot be folded; "
        ) + "it logs in by the name exactly as written, and can choose another at /edit_profile."
    if row.email_canonical is None:
        twin = addresses.get(canonical(row.email))
        yield (
            f"its address is that of account {twin.id} but for its case; " if twin else ""
        ) + "reset mails for it want the address exactly as written."
    if row.email.endswith(UNKNOWN_ADDRESS):
        yield "it has no address, so no mail reaches it; store its own in the column email."
    elif not _is_reachable(row.email):
        yield (
            f"no reset link can be sent to its address ({row.email!r}); "
            "its owner can give another at /change_email."
        )
    if not ACCEPTED_NAME.fullmatch(row.username):
        yield "its name would not be accepted today; it works, and can be changed at /edit_profile."
    if not READABLE_HASH.fullmatch(row.password_hash or ""):
        yield "it has no password that can be checked; its owner gets one at /reset_password_request."


def _is_reachable(address: str) -> bool:
    """Return whether a reset link can be asked for with `address` and be sent there."""
    try:
        return "@" in mailbox(address).spec and not WHITE_SPACE.search(address)
    except BadAddressError:
        return False
