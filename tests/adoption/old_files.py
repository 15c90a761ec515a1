"""SQLite files as written by the 2018 and 2024 editions of Microblog v0.10."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import pbkdf2_hmac, scrypt
from pathlib import Path

PASSWORD = "old password"
SALT = "saltsalt"
PBKDF2_HASH = (
    f"pbkdf2:sha256:1000${SALT}$" + pbkdf2_hmac("sha256", PASSWORD.encode(), SALT.encode(), 1000).hex()
)
SCRYPT_HASH = (
    f"scrypt:1024:8:1${SALT}$" + scrypt(PASSWORD.encode(), salt=SALT.encode(), n=1024, r=8, p=1).hex()
)

VERSION = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
INSERT INTO alembic_version VALUES ('ae346256b650');
"""
EDITION_2018 = (
    VERSION
    + """
CREATE TABLE user (id INTEGER NOT NULL, username VARCHAR(64), email VARCHAR(120), password_hash VARCHAR(128),
    about_me VARCHAR(140), last_seen DATETIME, PRIMARY KEY (id));
CREATE UNIQUE INDEX ix_user_email ON user (email);
CREATE UNIQUE INDEX ix_user_username ON user (username);
CREATE TABLE post (id INTEGER NOT NULL, body VARCHAR(140), timestamp DATETIME, user_id INTEGER,
    PRIMARY KEY (id), FOREIGN KEY(user_id) REFERENCES user (id));
CREATE INDEX ix_post_timestamp ON post (timestamp);
CREATE TABLE followers (follower_id INTEGER, followed_id INTEGER,
    FOREIGN KEY(followed_id) REFERENCES user (id), FOREIGN KEY(follower_id) REFERENCES user (id));
"""
)
EDITION_2024 = (
    VERSION
    + """
CREATE TABLE user (id INTEGER NOT NULL, username VARCHAR(64) NOT NULL, email VARCHAR(120) NOT NULL,
    password_hash VARCHAR(256), about_me VARCHAR(140), last_seen DATETIME, PRIMARY KEY (id));
CREATE UNIQUE INDEX ix_user_email ON user (email);
CREATE UNIQUE INDEX ix_user_username ON user (username);
CREATE TABLE post (id INTEGER NOT NULL, body VARCHAR(140) NOT NULL, timestamp DATETIME NOT NULL,
    user_id INTEGER NOT NULL, PRIMARY KEY (id), FOREIGN KEY(user_id) REFERENCES user (id));
CREATE INDEX ix_post_timestamp ON post (timestamp);
CREATE INDEX ix_post_user_id ON post (user_id);
CREATE TABLE followers (follower_id INTEGER NOT NULL, followed_id INTEGER NOT NULL,
    FOREIGN KEY(followed_id) REFERENCES user (id), FOREIGN KEY(follower_id) REFERENCES user (id),
    PRIMARY KEY (follower_id, followed_id));
"""
)
EDITIONS = {"2018": EDITION_2018, "2024": EDITION_2024}
ODD_NAMES = ("a/b", "..", "x" * 64, "login")

PEOPLE = [
    (1, "susan", "susan@example.com", SCRYPT_HASH, "Hi there", "2024-05-01 10:00:00.123456"),
    (2, "david", "David@Example.com", PBKDF2_HASH, None, "2018-05-01 10:00:00.000000"),
    (3, "Susan", "SUSAN@example.com", PBKDF2_HASH, None, None),
    (4, "hashless", "hashless@example.com", None, None, None),
    *(
        (10 + number, name, f"odd{number}@example.com", PBKDF2_HASH, None, None)
        for number, name in enumerate(ODD_NAMES)
    ),
]
POSTS = [
    (1, "my first post", "2018-05-01 09:00:00.000000", 1),
    (2, "David speaks \N{PARTY POPPER}", "2018-05-01 09:30:00.500000", 2),
    (3, "the other Susan", "2018-05-01 09:45:00.000000", 3),
]
FOLLOWS = [(1, 2), (2, 1), (1, 10)]
LOOSE_ENDS = """
INSERT INTO user (id, username, email) VALUES (20, NULL, 'nameless@example.com'), (21, 'unreachable', NULL);
INSERT INTO post (id, body, timestamp, user_id) VALUES (4, NULL, '2018-05-02 09:00:00.000000', 1),
    (5, 'when?', NULL, 1), (6, 'whose?', '2018-05-03 09:00:00.000000', NULL),
    (7, 'gone', '2018-05-03 10:00:00.000000', 99);
INSERT INTO followers VALUES (1, 2), (NULL, 1), (1, NULL), (99, 1);
"""


def make_old_file(path: Path, edition: str, *, loose_ends: bool = False) -> Path:
    """Write a Microblog v0.10 database of `edition` with people, posts and follows, and return its path."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(EDITIONS[edition])
        connection.executemany("INSERT INTO user VALUES (?, ?, ?, ?, ?, ?)", PEOPLE)
        connection.executemany("INSERT INTO post VALUES (?, ?, ?, ?)", POSTS)
        connection.executemany("INSERT INTO followers VALUES (?, ?)", FOLLOWS)
        if loose_ends:
            connection.executescript(LOOSE_ENDS)
        connection.commit()
    return path


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """Return the rows of `query` in the file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()
