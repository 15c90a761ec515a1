"""Following in a real Chromium: in place, and nothing changes when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.test_posts import log_in, register
from tests.processes import dev_site

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_following_happens_in_place_and_a_failure_changes_nothing(page: Page, tmp_path: Path) -> None:
    async with dev_site(tmp_path) as site:
        for username in ("david", "susan"):
            await register(page, site.url, username)
        await log_in(page, "susan")
        await page.get_by_label("Say something").fill("half a thought")
        button = page.locator(".follow").first
        await expect(button).to_have_accessible_description("david")
        await button.click()
        await expect(button).to_have_text("Unfollow")
        await expect(page.get_by_role("status")).to_contain_text("You are following david!")
        await expect(page.get_by_label("Say something")).to_have_value("half a thought")
        await expect(button).to_be_focused()

        await page.goto(f"{site.url}/user/david")
        await expect(page.get_by_role("link", name="1 follower")).to_be_visible()
        button = page.get_by_role("main").locator(".follow")
        await page.route("**/unfollow/*", lambda route: route.abort())
        await button.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("nothing was changed")
        await expect(button).to_have_text("Unfollow")
        await page.unroute("**/unfollow/*")
        await button.press("Enter")
        await expect(button).to_have_text("Follow")
        await expect(page.get_by_role("alert")).to_have_count(0)
        await expect(page.get_by_role("link", name="0 followers")).to_be_visible()

        await page.context.clear_cookies(name="login")
        await button.click()
        await expect(page.get_by_role("alert")).to_contain_text("nothing was changed")
        await expect(button).to_have_text("Follow")
