"""What holds on every page, in a real Chromium: accessibility, narrow windows, large text, and the keyboard."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import CDPSession, Page, ViewportSize

from tests.browser.tour import PAGES, site_to_tour, tour

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CONTRAST = "color-contrast-enhanced"
"""axe's rule for a contrast of 7:1 (WCAG 2.2, 1.4.6), the only one of level AAA. It takes most of the time."""

AXE = """([excluded, options]) =>
    axe.run({exclude: excluded}, {resultTypes: ["violations"], preload: false, selectors: false, ...options}).then(
        results => results.violations.map(found => `${found.id}: ${found.nodes.map(node => node.html).join(" ")}`))"""
RULES = {"rules": {CONTRAST: {"enabled": True}, "color-contrast": {"enabled": False}}}
SHARED = (".top", ".side", "footer")
"""Parts that are the same on all pages; they are looked at on the pages named WHOLE."""
WHOLE = ("front", "home")

TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BROKEN_WORDS = """[...document.querySelectorAll("h1")].flatMap(heading => [...heading.childNodes].flatMap(node =>
    [...(node.data ?? "").matchAll(/[\\p{sc=Latin}\\p{sc=Cyrillic}]+/gu)].filter(({0: word, index}) => {
        const range = document.createRange();
        range.setStart(node, index);
        range.setEnd(node, index + word.length);
        return range.getClientRects().length > 1;
    }).map(([word]) => word)))"""
SIZES = ((1280, 16), (1280, 32), (320, 32), (320, 16))
"""Widths of the window and sizes of the text, in an order in which only one of them changes at a time."""
FIRST_WINDOW: ViewportSize = {"width": 1280, "height": 800}
CROWDED = ("home", "own_profile", "edit_profile")
"""Pages on which much stands side by side, or long words in the heading; they are made narrow in every language."""

CONTROLS = """[...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
    .filter(each => each.tabIndex >= 0 && each.type !== "hidden" && each.checkVisibility())"""
WATCH_FOCUS = f"""() => {{
    window.focused = new Set();
    document.addEventListener("focusin", event => focused.add(event.target));
    document.activeElement.blur();
    return {CONTROLS}.length;
}}"""
UNREACHED = f"{CONTROLS}.filter(each => !focused.has(each)).map(each => each.outerHTML)"
TAB = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
ROUNDS = 9  # keys are lost while the focus enters the frame of a mail


async def violations(page: Page, excluded: Sequence[str]) -> list[str]:
    """Return what axe finds in the light scheme, and of contrast in the dark one."""
    await page.evaluate(AXE_SCRIPT)
    found: list[str] = await page.evaluate(AXE, [excluded, RULES])
    await page.emulate_media(color_scheme="dark")
    found += await page.evaluate(AXE, [excluded, {"runOnly": [CONTRAST]}])
    await page.emulate_media(color_scheme="light")
    return found


async def unreached(page: Page, devtools: CDPSession) -> list[str]:
    """Return the controls that the Tab key does not reach."""
    number = await page.evaluate(WATCH_FOCUS)
    left: list[str] = []
    for _ in range(ROUNDS):
        keys = ({"type": type_, **TAB} for _ in range(number) for type_ in ("rawKeyDown", "keyUp"))
        await asyncio.gather(*(devtools.send("Input.dispatchKeyEvent", key) for key in keys))
        if not (left := await page.evaluate(UNREACHED)):
            break
    return left


async def overflows(page: Page, devtools: CDPSession) -> list[str]:
    """Return where the page is wider than its window, or a word of its heading than a line."""
    found = []
    for width, size in SIZES:
        await page.set_viewport_size({"width": width, "height": 800})
        await devtools.send("Page.setFontSizes", {"fontSizes": {"standard": size}})
        if await page.evaluate(TOO_WIDE):
            found.append(f"wider than {width} px with text of {size} px")
        broken = await page.evaluate(BROKEN_WORDS)
        found += [f"{word} is broken at {width} px with text of {size} px" for word in broken]
    await page.set_viewport_size(FIRST_WINDOW)
    return found


async def test_every_page_is_accessible_and_narrow_and_used_by_keyboard(page: Page, tmp_path: Path) -> None:
    devtools = await page.context.new_cdp_session(page)
    found: dict[str, list[str]] = {}
    names = set()
    await page.emulate_media(reduced_motion="reduce")  # else colours change slowly from light to dark
    await page.set_viewport_size(FIRST_WINDOW)
    async with site_to_tour(tmp_path, POSTS_PER_PAGE="3") as site:
        async for name in tour(page, site.url):
            names.add(name)
            faults = await violations(page, () if name in WHOLE else SHARED)
            faults += await unreached(page, devtools)
            faults += await overflows(page, devtools)
            found |= {name: faults} if faults else {}
        for code in ("ru", "es", "zh"):
            await page.context.add_cookies([{"name": "language", "value": code, "url": site.url}])
            for name in CROWDED:
                await page.goto(site.url + PAGES[name])
                assert await page.get_attribute("html", "lang") == code
                faults = await overflows(page, devtools)
                found |= {f"{name} in {code}": faults} if faults else {}
    assert found == {}
    assert names > {*WHOLE, "lost_reply", "confirm_email"}
