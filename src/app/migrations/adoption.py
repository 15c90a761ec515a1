"""Databases of Microblog: recognize them, repair their text, and list unusual accounts.

Accounts that today's rules would refuse keep working; `db upgrade` and `db check` list them.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from alembic.util import CommandError
from sqlalchemy import (
    ColumnClause,
    Connection,
    Executable,
    Integer,
    Row,
    String,
    column,
    func,
    inspect,
    or_,
    select,
    table,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import User
from app.accounts.names import canonical
from app.messages import COMPLETE, Message, Task
from app.migrations.lineage import COLUMNS, JOIN, Columns, Lineage
from app.posts.models import Post
from app.quart_mail import BadAddressError
from app.quart_mail.address import mailbox

TEXT_TABLES = frozenset({"user", "post", "message", "notification", "task"})
NOUNS = {
    "user": ("account", "accounts"),
    "post": ("post", "posts"),
    "followers": ("follow", "follows"),
    "message": ("message", "messages"),
    "notification": ("notification", "notifications"),
    "task": ("task", "tasks"),
}
ACCEPTED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
READABLE_HASH = re.compile(r"(scrypt|pbkdf2)(:[\w.]+)*\$[^$]+\$[0-9a-f]+")
OUTBOX = "7b3e9a4c2d10"  # the revision that creates it
WAITING_MAILS = "SELECT count(*) FROM outbox WHERE due_at IS NOT NULL"
WHITE_SPACE = re.compile(r"\s")
UNKNOWN_ADDRESS = "@unknown.invalid"
EXPLANATIONS = (
    "Posts whose author is no longer known.",
    "Posts whose author was not known any more.",  # of version 0.1.0
)
"""What an account says about itself that an upgrade has made (revisions e81f2b7d4c65 and e3b90d5a7c16)."""

Account = Row[*tuple[Any, ...]]


class NotMicroblog(Exception):
    """The database is not a Microblog's, or of a version this one does not know. It was not changed."""


def recognize(connection: Connection, lineage: Lineage) -> None:
    """Raise NotMicroblog unless the database is empty or a Microblog at revisions of `lineage`."""
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return
    if "alembic_version" not in tables:
        raise NotMicroblog(
            f"it has tables ({', '.join(sorted(tables)[:3])}) but no alembic_version of Flask-Migrate"
        )
    versions = sorted(connection.scalars(text("SELECT version_num FROM alembic_version")))
    if any(version not in lineage for version in versions):
        raise NotMicroblog(f"it is at revision {', '.join(versions)}, which this version does not know")
    if any(one in lineage.applied(other) for one in versions for other in versions if one != other):
        raise NotMicroblog(f"it is at revisions {' and '.join(versions)}, one of which includes the other")
    if not versions and len(tables) > 1:
        raise NotMicroblog("its table alembic_version is empty, but it has other tables")
    applied = lineage.applied(*versions)
    if JOIN not in applied:
        _require_columns(
            connection, tables, [COLUMNS[revision] for revision in COLUMNS if revision in applied]
        )


def _require_columns(connection: Connection, tables: set[str], added: list[Columns]) -> None:
    """Raise NotMicroblog unless the database has all the tables and columns that revisions have `added`."""
    if missing := sorted({name for each in added for name in each} - tables):
        raise NotMicroblog(f"it has no table {', '.join(missing)}")
    for name, columns in (item for each in added for item in each.items()):
        existing = {each["name"] for each in inspect(connection).get_columns(name)}
        if lacking := [each for each in columns if each not in existing]:
            raise NotMicroblog(f"its table {name} has no column {', '.join(lacking)}")


def refuse_loss(connection: Connection, revisions: set[str], *, drop_newer: bool) -> None:
    """Raise CommandError if undoing `revisions` loses waiting mail or, unless `drop_newer`, people's rows.

    Rows that people do not miss are not counted: logins, known browsers, reports, the search index.
    """
    origins = {name: revision for revision in reversed(COLUMNS) for name in COLUMNS[revision]}
    dropped = [name for name in NOUNS if origins[name] in revisions]
    counts = {name: _count(connection, select(func.count()).select_from(table(name))) for name in dropped}
    mails = _count(connection, text(WAITING_MAILS)) if OUTBOX in revisions else 0
    connection.rollback()
    if mails:
        raise CommandError(
            f"{mails} mail{' is' if mails == 1 else 's are'} waiting in the outbox, which earlier revisions "
            "do not have; nothing was changed. Run `microblog courier` to deliver waiting mail, or delete it."
        )
    losses = [f"{number:,} {NOUNS[name][number > 1]}" for name, number in counts.items() if number]
    if losses and not drop_newer:
        *others, last = losses
        listed = f"{', '.join(others)} and {last}" if others else last
        raise CommandError(
            f"This would delete {listed}, because earlier revisions have no table for them; nothing was "
            "changed. To delete them, add --drop-newer."
        )


def _count(connection: Connection, query: Executable) -> int:
    number: int = connection.execute(query).scalar_one()
    return number


def store_blobs_as_text(connection: Connection) -> None:
    """Convert BLOBs in the text columns of an SQLite file, which other programs may have written.

    Bytes that are not UTF-8 become replacement characters. If the text is taken in a unique column, the
    value gets an ending that makes it unique and, in an address, unreachable (RFC 2606).
    """
    inspector = inspect(connection)
    for name in sorted(TEXT_TABLES & set(inspector.get_table_names())):
        for each in inspector.get_columns(name):
            if isinstance(each["type"], String):
                _convert_blobs(connection, name, each["name"])
    connection.commit()


def _convert_blobs(connection: Connection, name: str, column_name: str) -> None:
    rowid: ColumnClause[int] = column("rowid", Integer)
    text_column: ColumnClause[Any] = column(column_name, String)
    holder = table(name, rowid, text_column)
    blobs = select(rowid, text_column).where(func.typeof(text_column) == "blob")
    for id_, value in connection.execute(blobs).all():
        converted = value.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
        change = update(holder).where(rowid == id_)
        try:
            with connection.begin_nested():
                connection.execute(change.values({text_column: converted}))
        except IntegrityError:
            connection.execute(change.values({text_column: f"{converted}-{id_}.invalid"}))


async def findings(connection: AsyncConnection) -> list[str]:
    """Return a line for each unusual account, and one for tasks: what is unusual, and what to do about it."""
    rows = (await connection.execute(select(User.__table__).order_by(User.id))).all()
    names = {row.username_canonical: row for row in rows}
    addresses = {row.email_canonical: row for row in rows}
    lines = []
    for row in rows:
        about = await _held(connection, row) if _is_placeholder(row) else _about(row, names, addresses)
        lines += [f"Account {row.id} ({row.username!r}): {line}" for line in about]
    return lines + await _stopped_tasks(connection)


def _is_placeholder(row: Account) -> bool:
    """Return whether an upgrade made this account, to hold what lost people wrote."""
    made = row.about_me in EXPLANATIONS and row.email.endswith(UNKNOWN_ADDRESS)
    return made and row.password_hash is None


async def _held(connection: AsyncConnection, row: Account) -> list[str]:
    held = (
        select(func.count()).where(Post.user_id == row.id),
        select(func.count()).where(or_(Message.sender_id == row.id, Message.recipient_id == row.id)),
    )
    posts, messages = [(await connection.execute(query)).scalar_one() for query in held]
    counts = f"posts: {posts:,}, messages: {messages:,}"
    return [f"it stands for people who are no longer known ({counts}); nobody can log in to it."]


async def _stopped_tasks(connection: AsyncConnection) -> list[str]:
    """Return a line if adopted tasks had not been finished; they have no time."""
    stopped = (Task.created_at.is_(None), Task.progress < COMPLETE)
    number = (await connection.execute(select(func.count()).where(*stopped))).scalar_one()
    if not number:
        return []
    return [
        f"Tasks: {number:,} had not been finished and will not be continued. "
        "People can download their posts at /download_data."
    ]


def _about(
    row: Account, names: Mapping[str | None, Account], addresses: Mapping[str | None, Account]
) -> Iterator[str]:
    if row.username_canonical is None:
        twin = names.get(canonical(row.username))
        yield (
            f"its name differs from that of {twin.username!r} (account {twin.id}) only by case; "
            if twin
            else "its name has no canonical form; "
        ) + "it logs in with the name exactly as written. The owner can change it at /edit_profile."
    if row.email_canonical is None:
        twin = addresses.get(canonical(row.email))
        yield (
            f"its address differs from that of account {twin.id} only by case; " if twin else ""
        ) + "a password reset needs the address exactly as written."
    if row.email.endswith(UNKNOWN_ADDRESS):
        yield "it has no email address, so no mail reaches it; store one in the column email."
    elif not _is_reachable(row.email):
        yield (
            f"no reset link can be sent to its address ({row.email!r}); "
            "the owner can change it at /change_email."
        )
    if not ACCEPTED_NAME.fullmatch(row.username):
        yield "its name would not be accepted today, but works; the owner can change it at /edit_profile."
    if not READABLE_HASH.fullmatch(row.password_hash or ""):
        yield "it has no usable password; the owner can set one at /reset_password_request."


def _is_reachable(address: str) -> bool:
    """Return whether a reset link can be requested for `address` and sent there."""
    try:
        return "@" in mailbox(address).spec and not WHITE_SPACE.search(address)
    except BadAddressError:
        return False
