"""Fixtures for all tests: a site on a migrated, empty database, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextvars import Context
from pathlib import Path
from typing import Any, ClassVar

import pytest
from jinja2.bccache import Bucket, BytecodeCache
from quart import Quart
from quart.testing import QuartClient
from werkzeug.routing import Rule

from app import create_app, settings
from app.database import engine, postgresql, sqlite
from app.migrations import run as migrations
from app.settings.table import REPLACED
from tests.database_servers import MEMORY, PostgresServer, RedisServer, require_postgres
from tests.inspection import database_of
from tests.processes import PATIENCE_SECONDS

CHEAP_HASH = "pbkdf2:sha256:1"
MEMORY_NEEDED = 4 * 2**30

_compile_builder = Rule._compile_builder
_compiled_routes: dict[tuple[object, ...], Any] = {}


class SharedTemplates(BytecodeCache):
    """Compile each template once per test process and language."""

    compiled: ClassVar[dict[str, bytes]] = {}

    def get_bucket(self, environment: Any, name: str, filename: str | None, source: str) -> Bucket:
        """Return the place for the code of a template."""
        language = getattr(environment, "language", None)  # a plain Quart has none
        return super().get_bucket(
            environment, f"{name}:{language.code if language else ''}", filename, source
        )

    def load_bytecode(self, bucket: Bucket) -> None:
        if (code := self.compiled.get(bucket.key)) is not None:
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.compiled[bucket.key] = bucket.bytecode_to_string()


def pytest_configure() -> None:
    """Keep the tests' files in memory where there is room: a fifth of the time of a test is SQLite's fsync."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))  # pytest's own variable
    Rule._compile_builder = _compile_once  # type: ignore[method-assign, assignment]
    Quart.jinja_options = {"bytecode_cache": SharedTemplates()}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests in a browser, which take longest, so that no worker is left with them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)


def pytest_collection_finish() -> None:
    """Collect garbage seldom, and leave out what the modules hold: this saves an eighth of the suite's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _compile_once(rule: Rule, append_unknown: bool = True) -> Any:
    """Compile the code of each route once per test process: this takes a sixth of the time of a small test."""
    key = (rule.rule, rule.subdomain, rule.merge_slashes, repr(rule.defaults), append_unknown)
    if key not in _compiled_routes:
        _compiled_routes[key] = _compile_builder(rule, append_unknown)
    return _compiled_routes[key]


class SharedStatements(dict[Any, Any]):
    """Compile each statement once per test process and kind of database, not once per engine."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(self._without_engine(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(self._without_engine(key), value)

    def _without_engine(self, key: Any) -> Any:
        """Name the dialect, of which each engine has an object of its own, in a key of SQLAlchemy's."""
        dialect, *rest = key
        return (dialect.name, *rest)


_STATEMENTS = SharedStatements()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run each test in an empty directory, without the machine's settings."""
    monkeypatch.chdir(tmp_path)
    for setting in settings.SETTINGS:
        for key in (setting.key, *setting.aliases):
            monkeypatch.delenv(key, raising=False)
    for key in REPLACED:
        monkeypatch.delenv(key, raising=False)


@pytest.fixture(autouse=True)
def _patient_databases(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine take its time; tests of the time limits themselves are marked."""
    if not request.node.get_closest_marker("database_limits"):
        for module in (engine, postgresql, sqlite):
            monkeypatch.setattr(module, "WAIT_SECONDS", PATIENCE_SECONDS)
        monkeypatch.setattr(engine, "COMMIT_SECONDS", PATIENCE_SECONDS)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a migrated, empty SQLite file, to be copied."""
    return tmp_path_factory.mktemp("template") / "microblog.db"


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server for this test process. Without PostgreSQL the test is skipped; in CI it fails."""
    with PostgresServer(require_postgres(), tmp_path_factory.mktemp("pg")) as server:
        yield server


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    """A Redis server for this test. Without Redis the test is skipped; in CI it fails."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs Redis, but redis-server was not found")
        pytest.skip("Redis is not installed (Debian: apt-get install redis-server)")
    async with RedisServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of database in turn; parametrize a test with one of them to override it."""
    kind: str = request.param
    return kind


@pytest.fixture
async def database_url(
    request: pytest.FixtureRequest, database_kind: str, sqlite_template: Path, tmp_path: Path
) -> AsyncIterator[str]:
    """The address of a migrated, empty database for this test."""
    if database_kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = await server.fresh_database(_migrate)
        yield url
        server.release_database(url)
        return
    if not sqlite_template.exists():
        await _migrate(f"sqlite:///{sqlite_template}")
    path = tmp_path / "microblog.db"
    shutil.copyfile(sqlite_template, path)
    yield f"sqlite:///{path}"


async def _migrate(url: str) -> None:
    app = create_app({"TESTING": True, "DATABASE_URL": url})
    await migrations.upgrade(database_of(app))
    await database_of(app).dispose()


@pytest.fixture
def config(database_url: str) -> dict[str, Any]:
    """The settings of the site under test; override this fixture to change some."""
    return {
        "TESTING": True,
        "DATABASE_URL": database_url,
        "PASSWORD_HASH_METHOD": CHEAP_HASH,
        "PASSWORD_PROCESSES": 0,
        "RATELIMIT_ENABLED": False,
    }


class FreshContextClient(QuartClient):
    """A test client whose requests do not share the test's own app context and `g`."""

    async def open(self, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.create_task(super().open(*args, **kwargs), context=Context())


def use_fresh_contexts(site: Quart) -> None:
    """Make the clients of `site` FreshContextClients."""
    site.test_client_class = FreshContextClient  # type: ignore[assignment] # nor is Quart's own one its protocol


@pytest.fixture
async def app(config: dict[str, Any]) -> AsyncIterator[Quart]:
    """The site, inside its app context, not serving."""
    site = create_app(config)
    for each in (database_of(site).reader, database_of(site).writer):
        each.sync_engine.update_execution_options(compiled_cache=_STATEMENTS)
    use_fresh_contexts(site)
    async with site.app_context():
        yield site
    await asyncio.gather(*site.background_tasks)
    await database_of(site).dispose()
