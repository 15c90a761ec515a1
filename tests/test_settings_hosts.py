"""BASE_URL and TRUSTED_HOSTS: which are accepted, and as what they are kept."""

from __future__ import annotations

from typing import Any

import pytest

from app import create_app
from app.settings import SettingsError, load
from tests.test_settings import GOOD


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
        ({"TRUSTED_HOSTS": "ok.com, http://x.com/"}, "TRUSTED_HOSTS: 'ok.com, http://x.com/' is not accepted; give hosts, each"),
        ({"TRUSTED_HOSTS": "x.com:"}, "TRUSTED_HOSTS: "),
        ({"TRUSTED_HOSTS": "*.x.com"}, "TRUSTED_HOSTS: "),
    ],
)  # fmt: skip
def test_a_wrong_host_gets_one_line(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as error:
        load({**GOOD, **wrong})
    assert str(error.value).startswith(words)
    assert "\n" not in str(error.value)
