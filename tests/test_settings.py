"""The settings: their sources, and the one-line error for an invalid one."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from app import create_app, email, settings
from app.dev.server import CATCHER_SETTINGS
from app.settings import SettingsError, load
from tests.inspection import outbox_of
from tests.processes import FORKING, HYPERCORN, MICROBLOG, TOML, run

ROOT = TOML.parent

GOOD: dict[str, Any] = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "BASE_URL": "https://example.com",
    "ADMINS": "Admin <admin@example.com>, second@example.com",
}


def test_config_beats_environment_beats_dotenv_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(GOOD)["POSTS_PER_PAGE"] == 25
    Path(".env").write_text("POSTS_PER_PAGE=3\n")
    assert load(GOOD)["POSTS_PER_PAGE"] == 3
    monkeypatch.setenv("POSTS_PER_PAGE", "4")
    assert load(GOOD)["POSTS_PER_PAGE"] == 4
    assert load({**GOOD, "POSTS_PER_PAGE": 5})["POSTS_PER_PAGE"] == 5


def test_a_key_given_as_none_has_its_default_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    default = load(GOOD)
    for setting in settings.SETTINGS:
        if setting.key not in GOOD:
            assert load({**GOOD, setting.key: None}) == default
    monkeypatch.setenv("MAIL_USERNAME", "somebody")
    monkeypatch.setenv("POSTS_PER_PAGE", "3")
    none = create_app({**GOOD, "MAIL_USERNAME": None, "POSTS_PER_PAGE": None, "DATABASE_URL": None})
    assert none.config["MAIL_USERNAME"] is None
    assert none.config["POSTS_PER_PAGE"] == 25
    assert none.config["DATABASE_URL"] == "sqlite+aiosqlite:///var/microblog.db"


def test_an_older_name_is_read_where_the_newer_is_given_as_none() -> None:
    given = {**GOOD, "MAIL_SERVER": None, "MAIL_HOSTNAME": "mx"}
    assert load(given)["MAIL_SERVER"] == "mx"


def test_anything_else_set_but_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("POSTS_PER_PAGE=\n")
    monkeypatch.setenv("MAIL_SERVER", "")
    monkeypatch.setenv("MAIL_HOSTNAME", "mx")
    values = load(GOOD)
    assert (values["POSTS_PER_PAGE"], values["MAIL_SERVER"]) == (25, "mx")


def test_a_variable_left_empty_is_read_from_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files and systemd's units pass variables that are empty."""
    Path(".env").write_text("POSTS_PER_PAGE=3\nMAIL_SUBJECT_PREFIX=[Ours]\nLOG_FORMAT=json\n")
    for key in ("POSTS_PER_PAGE", "MAIL_SUBJECT_PREFIX", "LOG_FORMAT"):
        monkeypatch.setenv(key, "")
    values = load(GOOD)
    assert (values["POSTS_PER_PAGE"], values["MAIL_SUBJECT_PREFIX"]) == (3, None)
    assert settings.from_environment()["LOG_FORMAT"] == "json"


@pytest.mark.parametrize("address", ["root@localhost", "Root <root@localhost>"])
def test_accounts_of_this_machine_get_mail(address: str) -> None:
    assert load({**GOOD, "ADMINS": [address]})["ADMINS"] == (address,)


@pytest.mark.parametrize("address", ["a b@localhost", "@localhost", "x,y@localhost", "x@y@localhost"])
def test_invalid_local_addresses_are_refused(address: str) -> None:
    with pytest.raises(SettingsError, match=r"ADMINS: .* is not accepted"):
        load({**GOOD, "ADMINS": [address]})


def test_the_first_admin_is_the_default_sender() -> None:
    assert load(GOOD)["MAIL_DEFAULT_SENDER"] == "Admin <admin@example.com>"


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [("FLASKY_MAIL_SENDER", "MAIL_DEFAULT_SENDER", "x@example.com"), ("MAIL_HOSTNAME", "MAIL_SERVER", "mx"),
     ("FLASKY_MAIL_SUBJECT_PREFIX", "MAIL_SUBJECT_PREFIX", "[Flasky]")],
)  # fmt: skip
def test_older_names_are_read_and_the_newer_wins(
    monkeypatch: pytest.MonkeyPatch, old: str, new: str, value: str
) -> None:
    monkeypatch.setenv(old, value)
    assert load(GOOD)[new] == value
    newer = value.replace("x", "y")
    monkeypatch.setenv(new, newer)
    assert load(GOOD)[new] == newer


@pytest.mark.parametrize("word", ["1", "true", "YES", "On"])
def test_words_for_yes(word: str) -> None:
    assert load({**GOOD, "MAIL_USE_TLS": word})["MAIL_USE_TLS"] is True


@pytest.mark.parametrize("word", ["0", "False", "no", "OFF", ""])
def test_words_for_no(word: str) -> None:
    assert load({**GOOD, "MAIL_USE_TLS": word})["MAIL_USE_TLS"] is False


@pytest.mark.parametrize(
    ("url", "understood"),
    [
        ("sqlite:///x.db", "sqlite+aiosqlite:///x.db"),
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgres://u:p@h/d?sslmode=require", "postgresql+asyncpg://u:p@h/d?ssl=require"),
        ("postgresql:///d?host=/run/postgresql", "postgresql+asyncpg:///d?host=%2Frun%2Fpostgresql"),
    ],
)
def test_plain_database_addresses_are_understood(url: str, understood: str) -> None:
    assert load({**GOOD, "DATABASE_URL": url})["DATABASE_URL"] == understood


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"MAIL_PORT": "abc"}, "MAIL_PORT: 'abc' is not accepted; give a whole number from 1 to 65535."),
        ({"MAIL_PORT": "70000"}, "MAIL_PORT: '70000' is not accepted"),
        ({"MAIL_PORT": "٢٥"}, "MAIL_PORT: '٢٥' is not accepted"),
        ({"MAIL_USE_TLS": "maybe"}, "MAIL_USE_TLS: 'maybe' is not accepted; give 1, true, yes or on"),
        ({"MAIL_USE_TLS": 1, "MAIL_USE_SSL": 1}, "MAIL_USE_TLS and MAIL_USE_SSL are both on"),
        ({"BASE_URL": None}, "BASE_URL is missing and DEBUG is off"),
        ({"SECRET_KEY": None}, "SECRET_KEY is missing and DEBUG is off"),
        ({"ADMINS": None}, "MAIL_DEFAULT_SENDER is missing and DEBUG is off"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY: the value given is not accepted"),
        ({"SECRET_KEY": "a" * 40}, "SECRET_KEY: the value given is not accepted"),
        ({"SECRET_KEY_FALLBACKS": "short"}, "SECRET_KEY_FALLBACKS: the value given is not accepted"),
        ({"ADMINS": "nobody"}, "ADMINS: 'nobody' is not accepted; give email addresses"),
        ({"DATABASE_URL": "mysql://u:hidden@h/d"}, "DATABASE_URL: the value given is not accepted"),
        ({"DATABASE_URL": "postgres://u:p@h/d?connect_timeout=5"}, "DATABASE_URL: the value given is not accepted"),
        ({"DATABASE_URL": "postgresql://u:hidden@h:99999999/d"}, "DATABASE_URL: the value given is not accepted"),
        ({"DATABASE_URL": "postgresql://u:hidden@h:0/d"}, "DATABASE_URL: the value given is not accepted"),
        ({"DATABASE_URL": "sqlite://"}, "DATABASE_URL: the value given is not accepted"),
        ({"MAIL_COURIER": "pigeon"}, "MAIL_COURIER: 'pigeon' is not accepted; give one of loop, celery, none."),
        ({"MAIL_COURIER": "celery"}, "CELERY_BROKER_URL is missing"),
        ({"CELERY_BROKER_URL": "nonsense"}, "CELERY_BROKER_URL: the value given is not accepted; give the address of Redis"),
        ({"OUTBOX_LEASE": 5}, "OUTBOX_RENEW: 10 is not accepted; give at most half of OUTBOX_LEASE, which is 5."),
        ({"OUTBOX_EXPIRY_MARGIN": 90000}, "OUTBOX_EXPIRY_MARGIN: 90000 is not accepted; give a number of seconds from 0 to 1800."),
        ({"OUTBOX_EXPIRY_MARGIN": 60, "RESET_TOKEN_SECONDS": 119}, "OUTBOX_EXPIRY_MARGIN: 60 is not accepted; give at most half of RESET_TOKEN_SECONDS, which is 119."),
        ({"RATELIMIT_STORAGE_URI": "redis"}, "RATELIMIT_STORAGE_URI: the value given is not accepted; give memory"),
        ({"PASSWORD_HASH_METHOD": "md5"}, "PASSWORD_HASH_METHOD: 'md5' is not accepted; give a method in Werkzeug's"),
        ({"PASSWORD_HASH_METHOD": "scrypt:2:1:1"}, "PASSWORD_HASH_METHOD: 'scrypt:2:1:1' is not"),
        ({"RESET_TOKEN_SECONDS": "nan"}, "RESET_TOKEN_SECONDS: 'nan' is not accepted"),
    ],
)  # fmt: skip
def test_a_wrong_value_gets_one_line(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as error:
        load({**GOOD, **wrong})
    line = str(error.value)
    assert line.startswith(words)
    assert "\n" not in line
    for secret in ("hidden", "short", "a" * 40):
        assert secret not in line.partition("(")[0]


def test_a_wrong_setting_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="MAIL_PORT: 'abc' is not accepted") as error:
        create_app({**GOOD, "MAIL_PORT": "abc"})
    assert not isinstance(error.value, SystemExit)


@pytest.mark.parametrize(
    ("given", "reset_expiry"),
    [
        ({}, 540),
        ({"RESET_TOKEN_SECONDS": 60}, 30),
        ({"RESET_TOKEN_SECONDS": 3600, "OUTBOX_EXPIRY_MARGIN": 1800}, 1800),
    ],
)
def test_a_mail_with_a_link_has_half_of_its_life_at_least(given: dict[str, Any], reset_expiry: float) -> None:
    kinds = outbox_of(create_app({**GOOD, **given})).kinds
    assert kinds["reset_password"].expiry == reset_expiry
    assert all(kind.expiry is None or kind.expiry >= reset_expiry for kind in kinds.values())


def test_debug_keeps_a_secret_of_its_own() -> None:
    first = load({"DEBUG": True})["SECRET_KEY"]
    assert load({"DEBUG": True})["SECRET_KEY"] == first
    assert (settings.VAR / "secret_key").stat().st_mode & 0o077 == 0


def test_debug_alone_does_not_log_the_addresses_that_mail_goes_to() -> None:
    assert load({"DEBUG": True})["MAIL_DEBUG"] is False
    assert load({"DEBUG": True, "MAIL_DEBUG": "1"})["MAIL_DEBUG"] is True


def test_every_server_command_in_the_documentation_uses_the_shipped_configuration() -> None:
    """Without it, Hypercorn ends with status 0 after a wrong setting."""
    pages = [ROOT / "README.md", ROOT / "Makefile", ROOT / "docs" / "nginx.conf"]
    pages += (ROOT / "docs").glob("*.md")
    lines = [line for page in pages for line in page.read_text().splitlines()]
    commands = [line for line in lines if "app:create_app" in line or "hypercorn --" in line]
    assert len(commands) >= 2
    assert all("--config" in command for command in commands)
    assert tomllib.loads((ROOT / "hypercorn.toml").read_text())["workers"] == 0


def secret_in(folder: Path) -> str:
    os.chdir(folder)
    return str(load({"DEBUG": True})["SECRET_KEY"])


def test_processes_that_start_at_once_under_debug_have_the_same_secret() -> None:
    with FORKING.Pool(4) as pool:
        for _ in range(10):
            (settings.VAR / "secret_key").unlink(missing_ok=True)
            said = set(pool.map(secret_in, [Path.cwd()] * 4, chunksize=1))
            assert len(said) == 1
            assert len(said.pop()) > settings.SECRET_KEY_BYTES
    assert [path.name for path in settings.VAR.iterdir()] == ["secret_key"]


@pytest.mark.parametrize("mode", ["DEBUG", "TESTING"])
def test_a_weak_secret_stops_only_a_production_start(mode: str) -> None:
    weak = {"SECRET_KEY": "dev", "SECRET_KEY_FALLBACKS": "older"}
    values = load({**weak, mode: True})
    assert (values["SECRET_KEY"], values["SECRET_KEY_FALLBACKS"]) == ("dev", ("older",))
    with pytest.raises(SettingsError, match="SECRET_KEY: "):
        load({**GOOD, **weak, mode: False})


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://Example.COM/", "https://example.com"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://web_1:08000", "http://web_1:8000"),
        ("https://Bücher.example:8443", "https://xn--bcher-kva.example:8443"),
    ],
)
def test_the_address_of_the_site_is_written_as_browsers_send_it(given: str, origin: str) -> None:
    assert load({**GOOD, "BASE_URL": given})["BASE_URL"] == origin


def test_trusted_hosts_are_written_as_browsers_send_them() -> None:
    hosts = load({**GOOD, "TRUSTED_HOSTS": "Bücher.example, x.com:8000,[0:0::1],10.0.0.1:80"})
    assert hosts["TRUSTED_HOSTS"] == (
        "xn--bcher-kva.example", "x.com:8000", "[::1]", "10.0.0.1:80",
    )  # fmt: skip


async def test_an_internationalised_host_is_answered() -> None:
    client = create_app({"TESTING": True, "BASE_URL": "http://bücher.example"}).test_client()
    for host, status in (("xn--bcher-kva.example", 302), ("other.example", 400)):
        answer = await client.get("/explore", headers={"Host": host})
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"BASE_URL": "example.com"}, "BASE_URL: 'example.com' is not accepted; give http:// or https://"),
        ({"BASE_URL": "https://example.com/blog"}, "BASE_URL: "),
        ({"BASE_URL": "https://a b.com"}, "BASE_URL: 'https://a b.com' is not accepted; give http://"),
        ({"BASE_URL": "https://x.com:"}, "BASE_URL: 'https://x.com:' is not accepted; give http://"),
        ({"BASE_URL": "https://x.com:0"}, "BASE_URL: "),
        ({"BASE_URL": "https://me@x.com"}, "BASE_URL: "),
        ({"BASE_URL": "https://a\nb.com"}, "BASE_URL: "),
        ({"BASE_URL": "https://999.1.1.1"}, "BASE_URL: "),
        ({"BASE_URL": "https://-x.com"}, "BASE_URL: "),
        ({"BASE_URL": "https://-bü.com"}, "BASE_URL: "),
        ({"TRUSTED_HOSTS": "ok.com, http://x.com/"}, "TRUSTED_HOSTS: 'ok.com, http://x.com/' is not accepted; give hosts separated"),
        ({"TRUSTED_HOSTS": "x.com:"}, "TRUSTED_HOSTS: "),
        ({"TRUSTED_HOSTS": "*.x.com"}, "TRUSTED_HOSTS: "),
    ],
)  # fmt: skip
def test_a_wrong_host_gets_one_line(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as error:
        load({**GOOD, **wrong})
    assert str(error.value).startswith(words)
    assert "\n" not in str(error.value)


ROOT = Path(__file__).parents[1]


def test_devs_catcher_needs_no_login_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in (("MAIL_USERNAME", "me"), ("MAIL_PASSWORD", "x"), ("MAIL_USE_TLS", "1")):
        monkeypatch.setenv(key, value)
    caught = create_app({**GOOD, **CATCHER_SETTINGS}).extensions["mail"]
    assert (caught.username, caught.password, caught.use_tls) == (None, None, False)


def test_zero_messages_per_connection_mean_no_limit_as_in_flask_mail() -> None:
    assert create_app({**GOOD, "MAIL_MAX_EMAILS": "0"}).extensions["mail"].max_emails is None


async def test_an_empty_subject_prefix_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(GOOD)["MAIL_SUBJECT_PREFIX"] == "[Microblog]"
    Path(".env").write_text("MAIL_SUBJECT_PREFIX=\n")
    assert load(GOOD)["MAIL_SUBJECT_PREFIX"] is None
    monkeypatch.setenv("FLASKY_MAIL_SUBJECT_PREFIX", "[Flasky]")
    assert load(GOOD)["MAIL_SUBJECT_PREFIX"] is None
    monkeypatch.setenv("MAIL_SUBJECT_PREFIX", "[Set]")
    assert load(GOOD)["MAIL_SUBJECT_PREFIX"] == "[Set]"
    monkeypatch.setenv("MAIL_SUBJECT_PREFIX", "")
    async with create_app(GOOD).app_context():
        message = await email.render("a@example.com", "Hello", "email/new_user", username="susan")
    assert message.subject == "Hello"


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"MAIL_LOCAL_HOSTNAME": "a b"}, "MAIL_LOCAL_HOSTNAME: 'a b' is not accepted; give a domain name."),
        ({"MAIL_MESSAGE_ID_DOMAIN": "a b"}, "MAIL_MESSAGE_ID_DOMAIN: 'a b' is not accepted; give a domain name."),
        ({"MAIL_SERVER": "a b"}, "MAIL_SERVER: 'a b' is not accepted; give a host name or an IP address."),
        ({"MAIL_USE_TLS": "1", "MAIL_CA_FILE": "/nope"}, "MAIL_CA_FILE: '/nope' is not accepted; give a readable file of certificates in PEM (No such file or directory)."),
        ({"MAIL_CA_FILE": "/nope"}, "MAIL_CA_FILE: '/nope' is not accepted; give a readable file of certificates in PEM (No such file or directory)."),
        ({"MAIL_OAUTH2_TOKEN": "s3cret"}, "MAIL_OAUTH2_TOKEN: the value given is not accepted without MAIL_USERNAME; give both."),
        ({"MAIL_POOL_IDLE": "0"}, "MAIL_POOL_IDLE: '0' is not accepted; give a number of seconds above 0."),
    ],
)  # fmt: skip
def test_what_quart_mail_refuses_gets_one_line_too(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as error:
        create_app({**GOOD, **wrong})
    assert str(error.value) == line


@pytest.mark.parametrize(
    "program",
    [
        (MICROBLOG, "db", "check"),
        (HYPERCORN, "--config", str(TOML), "-b", "127.0.0.1:0", "app:create_app()"),
        (HYPERCORN, "-b", "127.0.0.1:0", "--workers", "1", "app:create_app()"),
    ],
)
def test_every_way_to_start_says_the_mail_extensions_line_alone(program: tuple[str, ...]) -> None:
    done = run(*program, **GOOD, MAIL_LOCAL_HOSTNAME="a b")
    # With workers of its own, Hypercorn's master ends with 0 after its worker ended with 1.
    assert done.returncode == (0 if "--workers" in program else 1)
    assert done.stderr == "MAIL_LOCAL_HOSTNAME: 'a b' is not accepted; give a domain name.\n"


async def test_settings_of_later_microblogs_are_accepted_and_named_at_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:s3cret@localhost")
    monkeypatch.setenv("LOG_TO_STDOUT", "")
    Path(".env").write_text("SERVER_NAME=example.org\nELASTICSEARCH_URL=http://localhost:9200\n")
    app = create_app(GOOD | {"MAIL_COURIER": "none", "PASSWORD_PROCESSES": 0})
    assert app.config["SERVER_NAME"] is None
    async with app.test_app():
        pass
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "without effect" in line] == [
        "Settings without effect here: ELASTICSEARCH_URL (the database is searched), "
        "REDIS_URL (the site works in the background without Redis), SERVER_NAME (BASE_URL is used)"
    ]
