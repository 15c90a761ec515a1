"""A Microblog database in PostgreSQL is adopted as well."""

from __future__ import annotations

import pytest
from quart import Quart
from sqlalchemy import text

from app.database import writing
from app.migrations import run as migrations
from tests.adoption.old_files import PASSWORD, PBKDF2_HASH, SCRYPT_HASH
from tests.clients import Visitor
from tests.inspection import database_of

LOOSEN = """
ALTER TABLE "user" ALTER username DROP NOT NULL, ALTER email DROP NOT NULL,
    ALTER password_hash TYPE VARCHAR(128) USING NULL;
ALTER TABLE post ALTER body DROP NOT NULL, ALTER timestamp DROP NOT NULL, ALTER user_id DROP NOT NULL;
DROP INDEX ix_post_user_id;
ALTER TABLE followers DROP CONSTRAINT followers_pkey, ALTER follower_id DROP NOT NULL, ALTER followed_id DROP NOT NULL
"""
ROWS = (
    f"""INSERT INTO "user" (id, username, email, password_hash) VALUES
        (1, 'susan', 'susan@example.com', '{PBKDF2_HASH}'), (2, 'Susan', 'Susan@example.com', NULL),
        (3, 'david', 'david@example.com', NULL)""",
    "INSERT INTO post (body, timestamp, user_id) VALUES ('old words', '2018-05-01 09:00:00', 3)",
    "INSERT INTO followers VALUES (1, 3)",
)
LOOSE_ROWS = (
    "INSERT INTO post (body, timestamp, user_id) VALUES (NULL, NULL, 1), ('whose?', '2018-05-02', NULL)",
    """INSERT INTO "user" (id, username, email) VALUES
        (8, 'unnamed-9', 'left-behind@unknown.invalid'), (9, NULL, NULL)""",
    "INSERT INTO followers VALUES (1, 3), (NULL, 1)",
    """SELECT setval('user_id_seq', 9)""",
)


@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize("edition", ["2018", "2024"])
async def test_it_is_adopted_and_goes_back(app: Quart, edition: str) -> None:
    database = database_of(app)
    await migrations.downgrade(database, "ae346256b650")
    async with writing() as session:
        loose = edition == "2018"
        for statement in (*(LOOSEN.split(";") if loose else ()), *ROWS, *(LOOSE_ROWS if loose else ())):
            await session.execute(text(statement))
        if not loose:
            await session.execute(
                text("""UPDATE "user" SET password_hash = :hash WHERE id = 1"""), {"hash": SCRYPT_HASH}
            )
    await migrations.upgrade(database)
    await migrations.check(database)
    visitor = Visitor(app)
    assert (await visitor.log_in("susan", PASSWORD)).location == "/index"
    assert "old words" in (await visitor.get("/index")).text
    assert "old words" in (await visitor.get("/search?q=WORDS+old")).text
    assert (await visitor.get("/user/Susan")).title == "Susan - Microblog"
    if edition == "2018":
        assert "whose?" in (await visitor.get("/user/left-behind-2")).text
        assert (await visitor.get("/user/unnamed-9-2")).status == 200
    await migrations.downgrade(database, "ae346256b650")
    await migrations.upgrade(database)
    await migrations.check(database)
