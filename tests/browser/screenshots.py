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
from typing import Literal

from playwright.async_api import Page, async_playwright

from tests.browser.conftest import FLAGS
from tests.browser.tour import site_to_tour, tour

SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


async def take(page: Page, path: Path) -> None:
    """Write pictures of `page` to files whose names begin with `path`."""
    for device, (width, height) in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            # On a phone only the first screen: the bar at its bottom would stand in the middle of a longer picture.
            await page.screenshot(path=f"{path}-{device}-{scheme}.png", full_page=device != "phone")


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium is not installed (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as home:
        async with site_to_tour(Path(home)) as site, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            page = await browser.new_page()
            async for name in tour(page, site.url):
                await take(page, folder / name)
            await browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    asyncio.run(main(parser.parse_args().folder))
