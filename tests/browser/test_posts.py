"""Posts in a real Chromium: drafts that are kept, long posts, and a header that stays in its place."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.processes import dev_site

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "korrekt horse 77"
WORDS = "worth keeping"
HEADER = "[...document.querySelectorAll('.top a, .top button')].map(e => e.getBoundingClientRect().x)"
UNCOVERED = "document.documentElement.clientWidth - document.querySelector('.top').offsetWidth"
SKIP_LINK_END = "document.querySelector('.skip').getBoundingClientRect().bottom"


@pytest_asyncio.fixture(loop_scope="session")
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a site."""
    async with dev_site(tmp_path) as site:
        yield site.url


async def register(page: Page, url: str, username: str) -> None:
    await page.goto(f"{url}/register")
    await page.get_by_label("Username").fill(username)
    await page.get_by_label("Email").fill(f"{username}@example.com")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("Repeat Password").fill(PASSWORD)
    await page.get_by_role("button", name="Register").click()
    await expect(page).to_have_title("Sign In - Microblog")


async def log_in(page: Page, username: str) -> None:
    await page.get_by_label("Username").fill(username)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign In").click()
    await expect(page).to_have_title("Home - Microblog")


async def test_a_draft_is_kept_for_its_account_until_it_is_posted_or_its_author_logs_out(
    page: Page, url: str
) -> None:
    box = page.get_by_label("Say something")
    for username in ("susan", "david"):
        await register(page, url, username)
    await log_in(page, "susan")
    await box.fill(WORDS)
    await page.reload()
    await expect(box).to_have_value(WORDS)

    await page.context.clear_cookies(name="login")
    await page.get_by_role("button", name="Post").click()
    await expect(page.get_by_role("status")).to_contain_text("You had been logged out")
    await log_in(page, "david")
    await expect(box).to_have_value("")
    await page.get_by_role("button", name="Log out").click()
    await log_in(page, "susan")
    await expect(box).to_have_value(WORDS)
    await expect(page.get_by_text(f"{140 - len(WORDS)} left")).to_be_visible()

    await page.get_by_role("button", name="Post").click()
    await expect(page.get_by_role("status")).to_contain_text("Your post is now live!")
    await expect(box).to_have_value("")

    await box.fill("not for others")
    await page.get_by_role("button", name="Log out").click()
    await expect(page).to_have_title("Sign In - Microblog")
    assert await page.evaluate("Object.keys(localStorage)") == []


async def test_a_long_post_is_unfolded_by_keyboard_and_is_no_scroll_box(page: Page, url: str) -> None:
    await register(page, url, "susan")
    await log_in(page, "susan")
    await page.get_by_label("Say something").fill("\n".join(f"no {n}" for n in range(1, 21)))
    await page.get_by_role("button", name="Post").click()
    last = page.get_by_text("no 20")
    await expect(last).to_be_hidden()
    summary = page.locator("summary", has_text="Show more")
    await summary.focus()
    await page.keyboard.press("Enter")
    await expect(last).to_be_visible()
    await expect(page.get_by_text("Show less")).to_be_visible()
    boxes = "[...document.querySelectorAll('.body')].map(e => getComputedStyle(e).overflowY)"
    assert set(await page.evaluate(boxes)) == {"clip"}


async def test_the_header_fills_its_row_and_stays_and_small_things_keep_their_size(
    page: Page, url: str
) -> None:
    await register(page, url, "susan")
    await log_in(page, "susan")
    places = set()
    for path in ("/index", "/explore", "/user/susan", "/mailbox", "/account"):
        await page.goto(url + path)
        places.add(str(await page.evaluate(HEADER)))
        assert await page.evaluate(UNCOVERED) == 0
    assert len(places) == 1
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.goto(f"{url}/delete_account")
    box = await page.get_by_role("checkbox").bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (20, 20)
    await page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert await page.evaluate(SKIP_LINK_END) <= 0


async def test_the_box_grows_and_sends_by_ctrl_enter_and_keeps_a_draft_for_each_conversation(
    page: Page, url: str
) -> None:
    await register(page, url, "susan")
    await log_in(page, "susan")
    box = page.get_by_role("textbox", name="Say something")
    empty = await box.bounding_box()
    await box.fill("one\ntwo\nthree")
    grown = await box.bounding_box()
    assert empty is not None
    assert grown is not None
    assert empty["height"] < 50 < grown["height"]
    await box.press("Control+Enter")
    await expect(page.get_by_role("status")).to_contain_text("Your post is now live!")
    await expect(box).to_have_value("")

    await page.clock.install()
    await page.reload()
    posted = page.locator(".byline time")
    await expect(posted).to_have_text(re.compile("^now$|^[0-9] minutes? ago$"))
    await page.clock.fast_forward("03:00:00")
    await expect(posted).to_have_text("3 hours ago")
    await page.clock.fast_forward(7 * 24 * 3600 * 1000)
    await expect(posted).to_have_text(re.compile(r"\b20[0-9]{2}\b"))

    await box.fill(WORDS)
    await posted.click()
    await expect(page).to_have_title("Post by susan - Microblog")
    reply = page.get_by_role("textbox", name="Reply to susan")
    await expect(reply).to_have_value("")
    await reply.fill("@susan four")
    await page.reload()
    await expect(reply).to_have_value("@susan four")
    await reply.press("Control+Enter")
    await expect(page.get_by_role("status")).to_contain_text("Your reply is now live!")
    await expect(reply).to_have_value("")
    await expect(page.get_by_role("heading", name="1 reply")).to_be_visible()
    await page.get_by_role("link", name="Home").click()
    await expect(box).to_have_value(WORDS)

    await page.route("**/index", lambda route: route.fulfill(status=503, body="Temporarily Unavailable"))
    await page.get_by_role("button", name="Post").click()
    await expect(page.get_by_text("Temporarily Unavailable")).to_be_visible()
    await page.unroute("**/index")
    await page.goto(f"{url}/index")
    await expect(box).to_have_value(WORDS)
    await box.fill("")

    await page.get_by_role("link", name="Delete").first.click()
    await page.get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("status")).to_contain_text("Your post has been deleted.")
    await expect(page.get_by_role("heading", name="1 reply")).to_be_hidden()

    conversation = page.url
    token = await page.locator(".leave [name=csrf_token]").input_value()
    other = await page.context.new_page()
    await other.goto(conversation)
    await page.request.post(f"{conversation}/delete", form={"csrf_token": token})
    await reply.fill("too late")
    await reply.press("Control+Enter")
    await expect(page.get_by_role("heading", name="This post has been deleted")).to_be_visible()
    await expect(box).to_have_value("too late")
    assert await page.evaluate("Object.keys(localStorage)") == ["draft:1:/index"]
    await page.goto(f"{url}/index")
    await expect(box).to_have_value("too late")

    other_reply = other.get_by_role("textbox", name="Reply to susan")
    await other_reply.fill("later still")
    await other_reply.press("Control+Enter")
    other_box = other.get_by_role("textbox", name="Say something")
    await expect(other_box).to_have_value("later still")
    await page.reload()
    await expect(box).to_have_value("too late")
    await other_box.press("Control+Enter")
    await expect(other.get_by_role("status")).to_contain_text("Your post is now live!")
    await expect(other_box).to_have_value("too late")
    await other_box.press("Control+Enter")
    await expect(other.get_by_text("too late")).to_have_count(1)
    assert await other.evaluate("Object.keys(localStorage)") == []
