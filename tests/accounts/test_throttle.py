"""Login limits: which attempts count together, what does not reset them, and that owners are not locked out."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from quart import Quart

from app.accounts import throttle
from tests.clients import Page, Visitor
from tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"RATELIMIT_ENABLED": True}


class Peer(Visitor):
    """A visitor from an address of their own."""

    def __init__(self, app: Quart, address: str) -> None:
        super().__init__(app)
        self.scope = {"client": (address, 40000)}

    async def get(self, path: str, **kwargs: Any) -> Page:
        return await super().get(path, scope_base=self.scope, **kwargs)

    async def post(self, path: str, **fields: str) -> Page:
        headers = {"X-Forwarded-For": fields.pop("forwarded")} if "forwarded" in fields else None
        return await self._page(
            await self.client.post(path, form=fields, scope_base=self.scope, headers=headers)
        )


async def fail(visitor: Visitor, times: int, username: str = "susan") -> list[int]:
    return [(await visitor.log_in(username, "wrong horse")).status for _ in range(times)]


async def test_the_eleventh_attempt_gets_the_form_again_and_the_time_to_wait(app: Quart) -> None:
    await make_user("susan")
    visitor = Peer(app, "192.0.2.1")
    assert await fail(visitor, 10) == [200] * 10
    page = await visitor.log_in("susan", PASSWORD)
    assert page.status == 429
    assert 0 < int(page.response.headers["Retry-After"]) <= 300
    assert re.search(
        r'role="alert">\s*<p>Too many attempts. Please try again in \d+ (seconds|minutes)', page.text
    )
    assert page.title == "Sign In - Microblog"
    assert 'value="susan"' in page.text
    assert 'href="/reset_password_request"' in page.text


async def test_guesses_by_name_and_by_address_share_a_limit(app: Quart) -> None:
    await make_user("susan")
    visitor = Peer(app, "192.0.2.1")
    assert await fail(visitor, 10) == [200] * 10
    assert (await visitor.log_in("susan@example.com", PASSWORD)).status == 429


async def test_a_successful_login_resets_the_count(app: Quart) -> None:
    await make_user("susan")
    for _ in range(3):
        visitor = Peer(app, "192.0.2.1")
        assert await fail(visitor, 9) == [200] * 9
        assert (await visitor.log_in("susan", PASSWORD)).location == "/index"


@pytest.mark.parametrize("name", ["susan", "nobody"])
async def test_existing_and_unknown_names_have_the_same_limits(app: Quart, name: str) -> None:
    await make_user("susan")
    assert await fail(Peer(app, "192.0.2.1"), 11, name) == [200] * 10 + [429]


async def test_neither_case_nor_a_forwarded_address_resets_the_count(app: Quart) -> None:
    await make_user("susan")
    visitor = Peer(app, "192.0.2.1")
    await fail(visitor, 10)
    for number, name in enumerate(("SUSAN", " susan ", "ｓｕｓａｎ", "sUsan")):
        page = await visitor.log_in(name, "wrong", forwarded=f"198.51.100.{number}")
        assert page.status == 429


async def test_a_new_browser_at_the_same_address_starts_no_new_count(app: Quart) -> None:
    await make_user("susan")
    for _ in range(5):
        await fail(Peer(app, "2001:db8:1:2::1"), 2)
    assert await fail(Peer(app, "2001:db8:1:2:ffff::9"), 1) == [429]
    assert await fail(Peer(app, "2001:db8:1:3::1"), 1) == [200]


async def test_the_owner_gets_in_from_another_address(app: Quart) -> None:
    await make_user("susan")
    await fail(Peer(app, "192.0.2.1"), 11)
    assert (await Peer(app, "192.0.2.2").log_in("susan", PASSWORD)).location == "/index"


async def test_a_known_browser_gets_in_from_the_guessers_own_address(app: Quart) -> None:
    await make_user("susan")
    owner = Peer(app, "192.0.2.1")
    await owner.log_in("susan", PASSWORD)
    await owner.submit("/logout")
    await fail(Peer(app, "192.0.2.1"), 11)
    assert (await owner.log_in("susan", PASSWORD)).location == "/index"


async def test_a_known_browser_has_a_limit_too(app: Quart) -> None:
    await make_user("susan")
    thief = Peer(app, "192.0.2.1")
    await thief.log_in("susan", PASSWORD)
    await thief.submit("/logout")
    assert await fail(thief, 11) == [200] * 10 + [429]


async def test_a_known_browser_is_unknown_to_other_accounts(app: Quart) -> None:
    await make_user("susan")
    await make_user("david")
    thief = Peer(app, "192.0.2.1")
    await thief.log_in("david", PASSWORD)
    await thief.submit("/logout")
    await fail(Peer(app, "192.0.2.1"), 10)
    assert await fail(thief, 1) == [429]


async def test_guesses_from_many_addresses_slow_new_ones_down_but_lock_nobody_out(
    app: Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "ATTEMPTS_PER_NAME", "6 per hour")
    await make_user("susan")
    for number in range(6):
        await fail(Peer(app, f"192.0.2.{number}"), 1)
    assert await fail(Peer(app, "192.0.2.50"), 3) == [200, 200, 429]
    assert (await Peer(app, "192.0.2.51").log_in("susan", PASSWORD)).location == "/index"


async def test_one_address_has_a_limit_for_all_names_together(
    app: Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "ATTEMPTS_PER_PEER", "5 per 5 minutes")
    visitor = Peer(app, "192.0.2.1")
    answers = [(await visitor.log_in(f"person{n}", "wrong")).status for n in range(6)]
    assert answers == [200] * 5 + [429]


@pytest.mark.parametrize(
    ("path", "fields", "most"),
    [
        ("/reset_password_request", {"email": "susan@example.com"}, 30),
        ("/register", {"username": "susan", "email": "s@example.com", "password": "correct horse", "password2": "correct horse"}, 60),
    ],
)  # fmt: skip
async def test_forms_for_guests_are_limited_per_address(
    app: Quart, path: str, fields: dict[str, str], most: int
) -> None:
    visitor = Peer(app, "192.0.2.1")
    token = (await visitor.get(path)).token
    answers = [(await visitor.post(path, csrf_token=token, **fields)).status for _ in range(most)]
    assert 429 not in answers
    page = await visitor.post(path, csrf_token=token, **fields)
    assert page.status == 429
    assert f'value="{fields["email"]}"' in page.text
    other = Peer(app, "192.0.2.2")
    assert (await other.submit(path, **fields)).status != 429


FOR_OWNERS = [
    ("/change_password", {"current": "wrong", "password": "battery staple", "password2": "battery staple"}),
    ("/change_email", {"current": "wrong", "email": "new@example.com"}),
    ("/delete_account", {"current": "wrong", "sure": "y"}),
]
"""Pages that ask for the current password, and a form with a wrong one."""


@pytest.mark.parametrize(
    ("path", "fields", "most"),
    [*((path, fields, 10) for path, fields in FOR_OWNERS), ("/download_data", {}, 5)],
)
async def test_forms_for_owners_are_limited_per_account(
    app: Quart, path: str, fields: dict[str, str], most: int
) -> None:
    await make_user("susan")
    visitor = Peer(app, "192.0.2.1")
    await visitor.log_in("susan", PASSWORD)
    token = (await visitor.get(path)).token
    pages = [await visitor.post(path, csrf_token=token, **fields) for _ in range(most + 1)]
    assert [page.status for page in pages].index(429) == most
    assert pages[-1].title == pages[0].title.replace("Redirecting...", "Your Data - Microblog")
    assert "Too many attempts. Please try again in" in pages[-1].text


async def test_all_pages_that_ask_for_a_password_share_one_limit(app: Quart) -> None:
    await make_user("susan")
    visitor = Peer(app, "192.0.2.1")
    await visitor.log_in("susan", PASSWORD)
    for path, fields in FOR_OWNERS:
        token = (await visitor.get(path)).token
        assert [(await visitor.post(path, csrf_token=token, **fields)).status for _ in range(3)] == [200] * 3
    assert (await visitor.post(path, csrf_token=token, **fields)).status == 200
    assert (await visitor.post(path, csrf_token=token, **fields)).status == 429
    await visitor.submit("/logout")
    assert (await visitor.log_in("susan", PASSWORD)).status == 429


async def test_wrong_current_passwords_count_for_the_address_whatever_the_account(
    app: Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "ATTEMPTS_PER_PEER", "8 per 5 minutes")
    path, fields = FOR_OWNERS[0]
    answers = []
    for name in ("susan", "david", "maria"):
        await make_user(name)
        visitor = Peer(app, "192.0.2.1")
        await visitor.log_in(name, PASSWORD)
        token = (await visitor.get(path)).token
        answers += [(await visitor.post(path, csrf_token=token, **fields)).status for _ in range(3)]
    assert answers == [200] * 8 + [429]


LIMITING = ("form.count", "throttle.count_password", "_confirm")

UNLIMITED = {
    "/logout": "ends one's own session",
    "/sessions/end": "ends one's own session",
    "/sessions/end_others": "ends one's own sessions",
    "/auth/<any(login, logout, register, reset_password_request):page>": "redirects",
    "/auth/<any(reset_password):page>/<token>": "redirects",
    "/language": "sets a cookie, and a column of one's own account",
}


async def test_every_form_of_accounts_has_a_limit_or_a_reason(app: Quart) -> None:
    for rule in app.url_map.iter_rules():
        feature = rule.endpoint.partition(".")[0]
        if "POST" in (rule.methods or ()) and feature in {"accounts", "account"}:
            source = inspect.getsource(inspect.unwrap(app.view_functions[rule.endpoint]))
            is_limited = any(f"await {call}(" in source for call in LIMITING)
            assert is_limited != (rule.rule in UNLIMITED), rule
