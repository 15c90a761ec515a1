"""Write pictures of all pages, as on a phone and a desktop, light and dark, to a folder.

    make screenshots            # or: python -m tests.browser.screenshots FOLDER

The site is `microblog dev --demo` with a database of its own. Needs Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from app.dev.demo import PASSWORD, USERNAME
from tests.browser.conftest import FLAGS
from tests.processes import dev_site

SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
SCHEMES = ("light", "dark")
GUEST_PAGES = {
    "front": "/",
    "login": "/login",
    "register": "/register",
    "reset_password_request": "/reset_password_request",
    "hello": "/hello",
    "not_found": "/nowhere",
}
PAGES = {
    "home": "/index",
    "explore": "/explore",
    "profile": "/user/david",
    "own_profile": f"/user/{USERNAME}",
    "followers": "/user/david/followers",
    "following": "/user/david/following",
    "edit_profile": "/edit_profile",
    "account": "/account",
    "sessions": "/sessions",
    "change_password": "/change_password",
    "change_email": "/change_email",
    "download_data": "/download_data",
    "delete_account": "/delete_account",
    "mailbox": "/mailbox",
}


async def log_in(page: Page, url: str) -> None:
    await page.goto(f"{url}/login")
    await page.get_by_label("Username").fill(USERNAME)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign In").click()
    await page.wait_for_url(f"{url}/index")


async def take(page: Page, url: str, pages: dict[str, str], folder: Path, suffix: str) -> None:
    for name, path in pages.items():
        await page.goto(url + path)
        await page.wait_for_load_state("networkidle")
        # On a phone only the first screen: the bar at its bottom would stand in the middle of a longer picture.
        await page.screenshot(path=folder / f"{name}-{suffix}.png", full_page="phone" not in suffix)


async def take_all(browser: Browser, url: str, folder: Path) -> None:
    for scheme in SCHEMES:
        for device, (width, height) in SIZES.items():
            page = await browser.new_page(
                color_scheme="dark" if scheme == "dark" else "light",
                viewport={"width": width, "height": height},
                reduced_motion="reduce",
            )
            suffix = f"{device}-{scheme}"
            await take(page, url, GUEST_PAGES, folder, suffix)
            await log_in(page, url)
            await page.goto(f"{url}/explore")
            post = await page.locator("a[href^='/post/']").first.get_attribute("href")
            await take(page, url, PAGES | ({"post": post} if post else {}), folder, suffix)
            await page.close()


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium is not installed (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as home:
        async with dev_site(Path(home), "--demo") as site, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            await take_all(browser, site.url, folder)
            await browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    asyncio.run(main(parser.parse_args().folder))
