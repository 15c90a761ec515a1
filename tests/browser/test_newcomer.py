"""A new user in a real Chromium: register, forget the password, find the mail, log in again."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.processes import dev_site

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_the_newcomers_minute(page: Page, tmp_path: Path) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    async with dev_site(tmp_path) as site:
        await page.goto(site.url)
        await expect(page).to_have_title("Microblog")
        await page.get_by_role("link", name="Create an account").click()
        await page.get_by_label("Username").fill("susan")
        await page.get_by_label("Email").fill("susan@example.com")
        await page.get_by_label("Password", exact=True).fill("correct horse")
        await page.get_by_role("button", name="Show password").first.click()
        await expect(page.get_by_label("Password", exact=True)).to_have_attribute("type", "text")
        await page.get_by_role("button", name="Hide password").click()
        await expect(page.get_by_label("Password", exact=True)).to_have_attribute("type", "password")
        await page.get_by_label("Repeat Password").fill("correct horse")
        await page.get_by_role("button", name="Register").click()
        await expect(page.get_by_role("status")).to_contain_text("Congratulations")

        await page.get_by_role("link", name="Click to Reset It").click()
        await page.get_by_label("Email").fill("susan@example.com")
        await page.get_by_role("button", name="Request Password Reset").click()
        await expect(page.get_by_role("status")).to_contain_text("Check your email")

        await page.goto(f"{site.url}/mailbox")
        mail = page.get_by_role("link", name="[Microblog] Reset Your Password")
        await expect(mail).to_be_visible()
        await mail.click()
        await page.get_by_role("link", name="/reset_password/").first.click()
        await expect(page).to_have_title("Reset Your Password - Microblog")
        await page.get_by_label("Password", exact=True).fill("battery staple")
        await page.get_by_label("Repeat Password").fill("battery staple")
        await page.get_by_role("button", name="Reset Password").click()
        await expect(page.get_by_role("status")).to_contain_text("Your password has been reset.")

        await page.get_by_label("Username").fill("susan")
        await page.get_by_label("Password").fill("battery staple")
        await page.get_by_role("button", name="Sign In").click()
        await expect(page).to_have_title("Home - Microblog")
        await expect(page.get_by_role("banner")).to_contain_text("susan")
    assert complaints == []
