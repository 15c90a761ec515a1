"""A tour of every page of the site, for pictures of them and for what must hold on all of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from playwright.async_api import Page, Route

from app.dev.demo import PASSWORD, USERNAME
from tests.processes import PATIENCE_SECONDS, Site, dev_site

NEWCOMER = "newcomer"
GUEST_PAGES = {
    "front": "/",
    "login": "/login",
    "register": "/register",
    "reset_request": "/reset_password_request",
    "hello": "/hello",
    "not_found": "/nowhere",
}
MAILS = {"mail_text": "text", "mail_html": "html", "mail_source": "source"}
NEWCOMER_PAGES = {
    "home_empty": "/index",
    "profile_empty": f"/user/{NEWCOMER}",
    "followers_none": f"/user/{NEWCOMER}/followers",
}
PAGES = {
    "home": "/index",
    "explore": "/explore",
    "profile": "/user/david",
    "own_profile": f"/user/{USERNAME}",
    "followers": "/user/david/followers",
    "following": "/user/david/following",
    "search": "/search?q=leonids",
    "search_people": "/search?q=h",
    "search_nothing": "/search?q=%23nothing",
    "search_no_word": "/search?q=%3F",
    "edit_profile": "/edit_profile",
    "account": "/account",
    "sessions": "/sessions",
    "change_password": "/change_password",
    "change_email": "/change_email",
    "download_data": "/download_data",
    "delete_account": "/delete_account",
    "log_out": "/logout",
}
FORMS_OF_GUESTS = ("/login", "/register", "/reset_password_request", "/hello")
FORMS = ("/index", "/edit_profile", "/change_password", "/change_email", "/delete_account")
LONG_POST = "@david #tag http://a.example" + "\n." * 12
CONVERSATION = "Homework for everybody"  # a post of several lines with replies


def site_to_tour(folder: Path, **settings: str) -> AbstractAsyncContextManager[Site]:
    """Start a development site with the sample data, which a tour changes."""
    return dev_site(folder, "--demo", CONFIRM_EMAIL="1", OUTBOX_RESET_DELAY="0", **settings)


async def tour(page: Page, url: str) -> AsyncIterator[str]:
    """Open one page after the other, as a guest, a newcomer and a member, and yield the name of each.

    Pages named `invalid_…` have answered an empty form.
    """
    for visit in (_guest, _newcomer, _member):
        async for name in visit(page, url):
            yield name


async def _guest(page: Page, url: str) -> AsyncIterator[str]:
    for name, path in GUEST_PAGES.items():
        await page.goto(url + path)
        yield name
    for path in FORMS_OF_GUESTS:
        yield await _submit_nothing(page, url + path)
    yield await _too_large(page, url)


async def _newcomer(page: Page, url: str) -> AsyncIterator[str]:
    await page.goto(f"{url}/mailbox")
    yield "mailbox_empty"
    email = f"{NEWCOMER}@example.com"
    await page.goto(f"{url}/register")
    await _submit(page, username=NEWCOMER, email=email, password=PASSWORD, password2=PASSWORD)
    yield "login_with_message"
    await page.goto(await _link_in_mail(page, url, "confirm"))
    yield "confirm_registration"
    await _submit(page)
    await page.goto(f"{url}/reset_password_request")
    await _submit(page, email=email)
    link = await _link_in_mail(page, url, "reset_password")
    for name, view in MAILS.items():
        await page.goto(f"{page.url.partition('?')[0]}?view={view}")
        yield name
    await page.goto(f"{url}/mailbox")
    yield "mailbox"
    await page.goto(link)
    yield "reset_password"
    await _log_in(page, url, NEWCOMER)
    for name, path in NEWCOMER_PAGES.items():
        await page.goto(url + path)
        yield name
    await page.context.clear_cookies()


async def _member(page: Page, url: str) -> AsyncIterator[str]:
    await _log_in(page, url, USERNAME)
    for name, path in PAGES.items():
        await page.goto(url + path)
        yield name
    for path in FORMS:
        yield await _submit_nothing(page, url + path)

    await page.goto(f"{url}/search?q={CONVERSATION}")
    await page.locator(".when").first.click()
    yield "post"
    await page.goto(f"{url}/index")
    await _submit(page, post=LONG_POST)
    yield "home_with_message"
    await page.locator(".when").first.click()
    yield "own_post"
    post = page.url
    await page.goto(f"{post}/delete")
    yield "delete_post"
    token = await page.locator("main [name=csrf_token]").input_value()
    await page.goto(post)
    await page.request.post(f"{post}/delete", form={"csrf_token": token})
    await _submit(page, post="worth keeping")
    yield "lost_reply"
    await page.goto(f"{url}/change_email")
    await _submit(page, email="elsewhere@example.com", current=PASSWORD)
    yield "account_with_message"
    await page.goto(await _link_in_mail(page, url, "change_email"))
    yield "confirm_email"


async def _log_in(page: Page, url: str, username: str) -> None:
    await page.goto(f"{url}/login")
    await _submit(page, username=username, password=PASSWORD)
    await page.wait_for_url(f"{url}/index")


async def _submit(page: Page, **values: str) -> None:
    """Fill and send the form in the page's main part."""
    main = page.locator("main")
    for name, value in values.items():
        await main.locator(f"[name={name}]").fill(value)
    async with page.expect_navigation():
        await main.locator("[name=submit]").click()


async def _submit_nothing(page: Page, address: str) -> str:
    """Send the form at `address` with its text fields empty."""
    await page.goto(address)
    for field in (
        await page.locator("main").locator("input[type=text]:visible, input[type=email], textarea").all()
    ):
        await field.fill("")
    await _submit(page)
    return f"invalid{re.sub(r'.*/', '_', address)}"


async def _too_large(page: Page, url: str) -> str:
    """Open the answer to a request that was refused before it reached the application."""
    answer = await page.request.post(f"{url}/login", data=b"x" * 2**21)

    async def show(route: Route) -> None:
        await route.fulfill(response=answer, status=200)

    await page.route("**/too_large", show)
    await page.goto(f"{url}/too_large")
    return "too_large"


async def _link_in_mail(page: Page, url: str, path: str) -> str:
    """Wait for a mail with a link to `path`, open it, and return the link."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            newest = (await (await page.request.get(f"{url}/mailbox/newest")).json())["newest"]
            for number in range(newest, 0, -1):
                await page.goto(f"{url}/mailbox/{number}?view=text")
                link = page.locator(f"pre a[href*='/{path}/']").first
                if await link.count():
                    return await link.get_attribute("href") or ""
            await asyncio.sleep(0.05)
