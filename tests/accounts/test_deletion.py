"""Downloading the data of an account, and deleting the account."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest
from quart import Quart
from sqlalchemy import delete, func, insert, select, text, update

from app import outbox
from app.accounts import emails, service
from app.accounts.models import KnownDevice, LoginSession, User, followers
from app.accounts.service import account_references
from app.database import reading, writing
from app.email import send_email
from app.messages import UNREAD_COUNT, Message, Notification, Task
from app.outbox.models import DONE_STATES, Content, Delivery, State
from app.posts.models import Post
from tests.clients import Page, Visitor
from tests.database_servers import find_postgres
from tests.factories import PASSWORD, logged_in, make_follow, make_post, make_user
from tests.inspection import bodies, database_of, sent_by


async def test_personal_data_is_mailed_as_an_attachment(app: Quart) -> None:
    visitor, user_id = await logged_in(app, "susan", about_me="I 🐴 & <b>")
    other_id = await make_user("david")
    await make_follow(user_id, other_id)
    await make_post(user_id, "first", minute=1)
    await make_post(user_id, "sécond", minute=2)
    await make_post(other_id, "not mine")
    async with writing() as session:
        session.add(Message(sender_id=other_id, recipient_id=user_id, body="", timestamp=datetime.now(UTC)))
    page = await visitor.submit("/download_data")
    assert page.location == "/account"
    [message] = await sent_by(app)
    assert message.recipients == ["susan@example.com"]
    [attachment] = message.attachments
    assert (attachment.filename, attachment.content_type) == ("microblog.json", "application/json")
    data = json.loads(attachment.data)
    assert data["account"]["about_me"] == "I 🐴 & <b>"
    assert [post["body"] for post in data["posts"]["listed"]] == ["sécond", "first"]
    assert data["following"] == {"total": 1, "listed": [{"username": "david"}]}
    assert data["followers"]["total"] == 0
    [received] = data["messages_received"]["listed"]
    assert (received["body"], received["from"]) == ("", "david")
    assert data["sessions"]["total"] == 1
    for secret in ("pbkdf2", "digest", "not mine"):
        assert secret not in str(data)


async def test_the_data_of_a_deleted_account_is_not_mailed(app: Quart) -> None:
    visitor, user_id = await logged_in(app, "susan")
    await visitor.submit("/download_data")
    async with writing() as session:
        for column in (*account_references(), User.__table__.c.id):
            await session.execute(delete(column.table).where(column == user_id))
    assert await sent_by(app) == []
    async with reading() as connection:
        assert (await connection.execute(select(Delivery.state))).scalar_one() == State.SKIPPED


async def leave(visitor: Visitor, **fields: str) -> Page:
    return await visitor.submit("/delete_account", **({"current": PASSWORD, "sure": "y"} | fields))


@pytest.mark.parametrize(("field", "value"), [("current", "wrong horse"), ("sure", ""), ("current", "")])  # fmt: skip
async def test_deleting_an_account_needs_the_password_and_a_ticked_box(
    app: Quart, field: str, value: str
) -> None:
    visitor, _ = await logged_in(app, "susan")
    fields = {"current": PASSWORD, "sure": "y"} | {field: value}
    page = await visitor.submit("/delete_account", **{k: v for k, v in fields.items() if v})
    assert page.status == 200
    assert len(page.errors(field)) == 1
    assert (await visitor.get("/index")).status == 200


async def test_deleting_an_account_deletes_everything_it_owns(app: Quart) -> None:
    visitor, user_id = await logged_in(app, "susan")
    other_id = await make_user("david")
    await make_follow(user_id, other_id)
    await make_follow(other_id, user_id)
    await make_post(user_id, "mine")
    await make_post(other_id, "still here")
    await visitor.submit("/download_data")
    await Visitor(app).submit("/reset_password_request", email="SUSAN@example.com")
    for address in ("susan@example.com", "Susan@EXAMPLE.com"):
        await send_email("Hello", None, [address], "text", None)
    await send_email("Hello", None, ["susan@example.com", "david@example.com"], "text", None)
    async with writing() as session:
        for one, to in ((user_id, other_id), (other_id, user_id), (other_id, other_id)):
            session.add(Message(sender_id=one, recipient_id=to, body="?", timestamp=datetime.now(UTC)))
    assert "any private messages you have sent or received" in (await visitor.get("/delete_account")).text
    page = await leave(visitor)
    assert page.location == "/login"
    assert (await visitor.get("/login")).flashes[-1] == "Your account has been deleted."
    messages = await sent_by(app)
    assert sorted((m.recipients, m.subject) for m in messages) == [
        (["susan@example.com"], "[Microblog] Your account was deleted"),
        (["susan@example.com", "david@example.com"], "Hello"),  # names both, and goes to david
    ]
    [farewell] = [message for message in messages if message.recipients == ["susan@example.com"]]
    assert all("any private messages" in " ".join(body.split()) for body in bodies(farewell))
    async with reading() as connection:
        for table, left in ((User, 1), (Post, 1), (Message, 1), (LoginSession, 0), (KnownDevice, 0), (followers, 0), (Content, 0)):  # fmt: skip
            count = select(func.count()).select_from(table)
            assert await connection.scalar(count) == left, table
        kept = (await connection.execute(select(Delivery))).all()
    assert "susan" not in repr(kept)
    assert (await visitor.get("/index")).location == "/login?next=/index"
    assert (await Visitor(app).register("susan")).location == "/login"


async def test_earlier_mails_keep_nothing_of_a_deleted_account(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    asked = await send_email("Hello", None, ["susan@example.com"], "text", None)
    await Visitor(app).submit("/reset_password_request", email="susan@example.com")
    await outbox.drain()
    for state in (State.FAILED, State.EXPIRED, State.SENDING):
        [id_] = (await send_email("Hello", None, ["susan@example.com"], "text", None)).ids
        words = {"last_text": "550 <susan@example.com>: unknown", "due_at": None}
        async with writing() as session:
            await session.execute(update(Delivery).where(Delivery.id == id_).values(state=state, **words))
    await leave(visitor)
    await outbox.drain()
    async with reading() as connection:
        kept = (await connection.execute(select(Delivery))).all()
    assert "susan" not in repr(kept)
    assert await asked == State.SENT


async def test_a_mail_in_progress_at_the_deletion_is_not_retried(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    handle = await send_email("Hello", None, ["susan@example.com"], "text", None)
    async with writing() as session:
        await session.execute(update(Delivery).values(state=State.SENDING))
    await leave(visitor)
    messages = await sent_by(app)
    assert [message.subject for message in messages] == ["[Microblog] Your account was deleted"]
    assert await handle == State.SKIPPED


async def test_requests_of_others_during_a_deletion_succeed_or_are_refused_politely(app: Quart) -> None:
    leaver, _ = await logged_in(app, "susan")
    await make_user("david")
    busy = []
    for _ in range(6):
        visitor = Visitor(app)
        await visitor.log_in("susan", PASSWORD)
        busy.append((visitor, (await visitor.get("/index")).token))
    guests = [(visitor, (await visitor.get("/login")).token) for visitor in [Visitor(app)] * 2]
    token = (await leaver.get("/delete_account")).token
    pages = await asyncio.gather(
        *(who.post("/index", post="still here", csrf_token=t) for who, t in busy[:2]),
        *(who.post("/follow/david", csrf_token=t) for who, t in busy[2:4]),
        leaver.post("/delete_account", current=PASSWORD, sure="y", csrf_token=token),
        *(who.post("/index", post="still here", csrf_token=t) for who, t in busy[4:]),
        *(who.post("/login", username="susan", password=PASSWORD, csrf_token=t) for who, t in guests),
    )
    assert {page.status for page in pages} <= {200, 302}, [page.text for page in pages]
    async with reading() as connection:
        for table, left in ((User, 1), (Post, 0), (LoginSession, 0), (KnownDevice, 0), (followers, 0)):  # fmt: skip
            assert await connection.scalar(select(func.count()).select_from(table)) == left


async def test_people_who_follow_and_write_to_each_other_can_leave_at_once(app: Quart) -> None:
    names = ("ann", "ben", "cid", "dan")
    visitors = {name: await logged_in(app, name) for name in names}
    pairs = list(permutations([user_id for _, user_id in visitors.values()], 2))
    sent = {"body": "hello", "timestamp": datetime.now(UTC)}
    async with writing() as session:
        await session.execute(
            insert(followers), [{"follower_id": one, "followed_id": other} for one, other in pairs]
        )
        session.add_all(Message(sender_id=one, recipient_id=other, **sent) for one, other in pairs)
        session.add_all(
            Notification(user_id=user_id, name=UNREAD_COUNT, timestamp=0.0, payload_json="3")
            for _, user_id in visitors.values()
        )
    stay, _ = visitors.pop("dan")
    pages = await asyncio.gather(*(leave(visitor) for visitor, _ in visitors.values()))
    assert [page.location for page in pages] == ["/login"] * 3
    async with reading() as connection:
        for table in (followers, Message):
            assert await connection.scalar(select(func.count()).select_from(table)) == 0
        notifications = select(Notification.payload_json)
        assert (await connection.execute(notifications)).scalars().all() == ["0"]
    assert (await stay.get("/index")).status == 200


async def test_an_id_is_never_used_again(app: Quart) -> None:
    """A newcomer neither gets the id of somebody who left, nor the counts of their mails."""
    visitor, user_id = await logged_in(app, "susan")
    await Visitor(app).submit("/reset_password_request", email="susan@example.com")
    assert len(await sent_by(app)) == 1
    await leave(visitor)
    newcomer = await make_user("david")
    assert newcomer > user_id
    await sent_by(app)
    await Visitor(app).submit("/reset_password_request", email="david@example.com")
    assert [message.recipients for message in await sent_by(app)] == [["david@example.com"]]


async def test_registering_again_does_not_reset_the_limits_of_reset_mails(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    await Visitor(app).submit("/reset_password_request", email="susan@example.com")
    await sent_by(app)
    await leave(visitor)
    await sent_by(app)
    await make_user("susan")
    await Visitor(app).submit("/reset_password_request", email="SUSAN@example.com")
    assert await sent_by(app) == []


async def everything_stored(app: Quart, database_url: str) -> bytes:
    """Return the bytes of an SQLite file and its log, with free pages, or a dump of PostgreSQL."""
    database = database_of(app)
    if database.is_sqlite:
        path = Path(database.url.database or "")
        return b"".join(part.read_bytes() for part in path.parent.glob(f"{path.name}*"))
    binaries = find_postgres()
    assert binaries is not None
    dump = await asyncio.create_subprocess_exec(
        binaries / "pg_dump", database_url.replace("+asyncpg", ""), stdout=asyncio.subprocess.PIPE
    )
    return (await dump.communicate())[0]


async def test_no_trace_of_a_deleted_account_is_stored(app: Quart, database_url: str) -> None:
    """Mails in every state, addressed in any case, a refused farewell and a registration: nothing stays."""
    app.config["FLASKY_ADMIN"] = "not an address"
    visitor, user_id = await logged_in(app, "zaphod", email="zaphod-é@heart.example")
    other = await make_user("trillian")
    await make_post(user_id, "zaphod was here")
    await make_follow(other, user_id)
    async with writing() as session:
        for one, to in ((user_id, other), (other, user_id)):
            message = Message(sender_id=one, recipient_id=to, body="zaphod?", timestamp=datetime.now(UTC))
            session.add(message)
        session.add(Notification(user_id=user_id, name="n", timestamp=0.0, payload_json='"zaphod"'))
        session.add(Task(id="1", name="zaphod", user_id=user_id, complete=True))
    variants = ("zaphod-é@heart.example", "ZAPHOD-É@Heart.Example", "Zaphod-É@HEART.example")
    states = [*State] * 2
    for number, state in enumerate(states):
        address = variants[number % 3]
        async with writing() as session:
            posted = await emails.ResetPassword(address).post(session)
            values = {"state": state, "unique_key": None, "last_text": f"550 <{address}>"}
            if state in DONE_STATES:
                values |= {"due_at": None}
            mails = [posted.ids[0], (await emails.EmailChanged(user_id, address).post(session)).ids[0]]
            mails += [(await emails.NewUser("zaphod").post(session)).ids[0]]
            mails += (await send_email("Hello", None, [address], "Dear zaphod", None)).ids
            await session.execute(update(Delivery).where(Delivery.id.in_(mails)).values(values))
    await service.request_registration(
        username="zaphod2", email="ZAPHOD-É@heart.example", password="violet anchor"
    )
    stored = await everything_stored(app, database_url)
    assert b"zaphod" in stored
    await leave(visitor)
    async with writing() as session:
        late = {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}
        await session.execute(update(Delivery).where(Delivery.due_at.is_not(None)).values(late))
    await outbox.drain()
    await database_of(app).truncate_log()
    stored = (await everything_stored(app, database_url)).lower()
    assert b"trillian" in stored
    assert b"zaphod" not in stored
    assert b"heart.example" not in stored


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_sqlite_overwrites_deleted_data(app: Quart) -> None:
    async with writing() as session:
        assert (await session.execute(text("PRAGMA secure_delete"))).scalar() == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_write_ahead_log_is_empty_after_a_deletion(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    log = Path(f"{database_of(app).url.database}-wal")
    assert log.stat().st_size > 0
    await leave(visitor)
    assert log.stat().st_size == 0
