"""Mail settings: the mail extension's own judgement, the catcher's and the prefix of subjects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app import create_app, email
from app.dev.server import CATCHER_SETTINGS
from app.settings import SettingsError, load
from tests.test_settings import GOOD

ROOT = Path(__file__).parents[1]


def test_the_catcher_of_dev_wants_no_login_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key, value in (("MAIL_USERNAME", "me"), ("MAIL_PASSWORD", "x"), ("MAIL_USE_TLS", "1")):
        monkeypatch.setenv(key, value)
    caught = create_app({**GOOD, **CATCHER_SETTINGS}).extensions["mail"]
    assert (caught.username, caught.password, caught.use_tls) == (None, None, False)


def test_no_messages_for_a_connection_are_no_limit_as_with_flask_mail() -> None:
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
def test_what_the_mail_extension_refuses_gets_one_line_too(
    wrong: dict[str, Any], line: str
) -> None:
    with pytest.raises(SettingsError) as error:
        create_app({**GOOD, **wrong})
    assert str(error.value) == line


@pytest.mark.parametrize(
    "program",
    [
        ("microblog", "db", "check"),
        (
            "hypercorn",
            "--config",
            str(ROOT / "hypercorn.toml"),
            "-b",
            "127.0.0.1:0",
            "app:create_app()",
        ),
        ("hypercorn", "-b", "127.0.0.1:0", "--workers", "1", "app:create_app()"),
    ],
)
def test_every_way_to_start_says_the_mail_extensions_line_alone(program: tuple[str, ...]) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name(program[0]), *program[1:]],
        env={**os.environ, **GOOD, "MAIL_LOCAL_HOSTNAME": "a b"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    # With workers of its own, Hypercorn's master ends with 0 after its worker ended with 1.
    assert done.returncode == (0 if "--workers" in program else 1)
    assert done.stderr == "MAIL_LOCAL_HOSTNAME: 'a b' is not accepted; give a domain name.\n"
