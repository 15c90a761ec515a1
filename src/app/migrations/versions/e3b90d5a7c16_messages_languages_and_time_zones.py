"""Repair and index messages, notifications and tasks; languages and time zones of people.

In Microblog's 2018 edition almost every column of these tables is nullable. In both editions SQLite allows
deleting an account that still has messages, notifications and tasks.
"""

import warnings
from itertools import chain, count

import sqlalchemy as sa
from alembic import op

revision = "e3b90d5a7c16"
down_revision = "91c4e7b20fd8"

NOBODY = "left-behind"
NOWHERE = "@unknown.invalid"
EXPLANATIONS = (
    "Posts whose author is no longer known.",
    "Posts whose author was not known any more.",  # of version 0.1.0
)
DROPPED_INDEXES = {
    "message": ("recipient_id", "sender_id", "timestamp"),
    "notification": ("name", "timestamp", "user_id"),
    "task": ("name",),
}
"""Indexes of one column each, some of which only the 2024 edition has; the downgrade creates them all."""

ACCOUNT_TEXTS = ("username", "email", "username_canonical", "email_canonical", "password_hash", "about_me")
user = sa.table("user", sa.column("id", sa.Integer), *(sa.column(name, sa.String) for name in ACCOUNT_TEXTS))
post = sa.table("post", sa.column("language", sa.String))
message = sa.table(
    "message",
    *(sa.column(name, sa.Integer) for name in ("id", "sender_id", "recipient_id")),
    sa.column("body", sa.String),
    sa.column("timestamp", sa.DateTime),
)
notification = sa.table(
    "notification",
    *(sa.column(name, sa.Integer) for name in ("id", "user_id")),
    *(sa.column(name, sa.String) for name in ("name", "payload_json")),
    sa.column("timestamp", sa.Float),
)
task = sa.table(
    "task",
    *(sa.column(name, sa.Integer) for name in ("user_id", "progress")),
    sa.column("name", sa.String),
    sa.column("complete", sa.Boolean),
)


def upgrade() -> None:
    _drop_indexes()
    _repair_messages()
    _repair_notifications()
    _repair_tasks()
    op.drop_index("ix_user_token", table_name="user")
    op.drop_column("user", "token_expiration")
    op.drop_column("user", "token")
    op.add_column("user", sa.Column("language", sa.String(length=16), nullable=True))
    op.add_column("user", sa.Column("timezone", sa.String(length=64), nullable=True))
    op.execute(post.update().where(post.c.language == "").values(language=None))
    chinese = sa.func.lower(post.c.language).in_(["zh-cn", "zh-tw"])
    op.execute(post.update().where(chinese).values(language="zh"))


def downgrade() -> None:
    op.drop_column("user", "timezone")
    op.drop_column("user", "language")
    op.add_column("user", sa.Column("token", sa.String(length=32), nullable=True))
    op.add_column("user", sa.Column("token_expiration", sa.DateTime(), nullable=True))
    op.create_index("ix_user_token", "user", ["token"], unique=True)
    op.drop_index("ix_task_user_id", table_name="task")
    op.drop_column("task", "created_at")
    op.drop_column("task", "progress")
    with op.batch_alter_table("notification") as batch:
        batch.drop_constraint("uq_notification_user_id_name", type_="unique")
    op.drop_index("ix_message_conversation", table_name="message")
    op.drop_index("ix_message_recipient", table_name="message")
    if op.get_bind().dialect.name == "sqlite":
        without = {"sqlite_autoincrement": False}
        with op.batch_alter_table("message", recreate="always", table_kwargs=without):
            pass
    for table, columns in DROPPED_INDEXES.items():
        for column in columns:
            op.create_index(f"ix_{table}_{column}", table, [column])


def _drop_indexes() -> None:
    for table, columns in DROPPED_INDEXES.items():
        for column in columns:
            op.drop_index(f"ix_{table}_{column}", table_name=table, if_exists=True)


def _repair_messages() -> None:
    """Give messages what they lack: a sender, a recipient, a body, the time of the message before."""
    connection = op.get_bind()
    for person in (message.c.sender_id, message.c.recipient_id):
        lost = _is_lost(person)
        if connection.scalar(sa.select(sa.exists().where(lost))):
            op.execute(message.update().where(lost).values({person.name: _placeholder(connection)}))
    op.execute(message.update().where(message.c.body.is_(None)).values(body=""))
    before = message.alias()
    latest = (
        sa.select(before.c.timestamp)
        .where(before.c.id < message.c.id, before.c.timestamp.is_not(None))
        .order_by(before.c.id.desc())
        .limit(1)
    )
    never = sa.literal_column("'1970-01-01 00:00:00.000000'", sa.DateTime)
    op.execute(
        message.update()
        .where(message.c.timestamp.is_(None))
        .values(timestamp=sa.func.coalesce(latest.scalar_subquery(), never))
    )
    with op.batch_alter_table("message", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.alter_column("sender_id", existing_type=sa.Integer(), nullable=False)
        batch.alter_column("recipient_id", existing_type=sa.Integer(), nullable=False)
        batch.alter_column("body", existing_type=sa.String(140), nullable=False)
        batch.alter_column("timestamp", existing_type=sa.DateTime(), nullable=False)
    op.create_index("ix_message_recipient", "message", ["recipient_id", "timestamp", "id"])
    op.create_index("ix_message_conversation", "message", ["sender_id", "recipient_id", "timestamp", "id"])


def _repair_notifications() -> None:
    """Keep the newest notification of each name for each person."""
    columns = notification.c
    op.execute(notification.delete().where(_is_lost(columns.user_id)))
    for column, value in ((columns.name, ""), (columns.timestamp, 0.0), (columns.payload_json, "null")):
        op.execute(notification.update().where(column.is_(None)).values({column.name: value}))
    newest = sa.func.first_value(columns.id).over(
        partition_by=(columns.user_id, columns.name), order_by=(columns.timestamp.desc(), columns.id.desc())
    )
    op.execute(notification.delete().where(columns.id.not_in(sa.select(newest))))
    with op.batch_alter_table("notification") as batch:
        batch.alter_column("name", existing_type=sa.String(128), nullable=False)
        batch.alter_column("user_id", existing_type=sa.Integer(), nullable=False)
        batch.alter_column("timestamp", existing_type=sa.Float(), nullable=False)
        batch.alter_column("payload_json", existing_type=sa.Text(), nullable=False)
        batch.create_unique_constraint("uq_notification_user_id_name", ["user_id", "name"])


def _repair_tasks() -> None:
    """Complete every task: what ran them does not run here. Those that were running stay at 0 percent."""
    op.execute(task.delete().where(_is_lost(task.c.user_id)))
    op.execute(task.update().where(task.c.name.is_(None)).values(name=""))
    op.add_column("task", sa.Column("progress", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("task", sa.Column("created_at", sa.DateTime(), nullable=True))
    op.execute(task.update().where(task.c.complete).values(progress=100))
    op.execute(task.update().values(complete=True))
    with warnings.catch_warnings(), op.batch_alter_table("task") as batch:
        warnings.simplefilter("ignore")  # the 2018 edition's CHECK (complete IN (0, 1)), which is not kept
        batch.alter_column("name", existing_type=sa.String(128), nullable=False)
        batch.alter_column("user_id", existing_type=sa.Integer(), nullable=False)
        batch.alter_column("complete", existing_type=sa.Boolean(), nullable=False)
    op.create_index("ix_task_user_id", "task", ["user_id"])


def _is_lost(person: sa.ColumnClause[int]) -> sa.ColumnElement[bool]:
    """Return the condition that there is no account with the id in `person`."""
    return sa.or_(person.is_(None), person.not_in(sa.select(user.c.id)))


def _placeholder(connection: sa.Connection) -> int:
    """Return the id of the account that stands for lost people: that of orphaned posts, or a new one."""
    earlier = sa.select(user.c.id).where(
        user.c.about_me.in_(EXPLANATIONS), user.c.email.endswith(NOWHERE), user.c.password_hash.is_(None)
    )
    account_id = connection.scalar(earlier.order_by(user.c.id).limit(1))
    if account_id is None:
        forms = sa.union(sa.select(user.c.username_canonical), sa.select(user.c.email_canonical))
        taken = set(connection.scalars(forms))
        names = chain([NOBODY], (f"{NOBODY}-{number}" for number in count(2)))
        name = next(name for name in names if taken.isdisjoint((name, name + NOWHERE)))
        values = dict.fromkeys(("username", "username_canonical"), name)
        values |= dict.fromkeys(("email", "email_canonical"), name + NOWHERE)
        values["about_me"] = EXPLANATIONS[0]
        account_id = connection.scalar(user.insert().values(values).returning(user.c.id))
    assert isinstance(account_id, int)  # noqa: S101
    return account_id
