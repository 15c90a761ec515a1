"""An untrusted HTML mail in a real Chromium: it is displayed, its link works, and nothing else happens."""

from __future__ import annotations

import re
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest
from playwright.async_api import Page, expect

from tests.processes import Site, dev_site

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PIXEL = bytes.fromhex(  # a GIF of one pixel
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
HOSTILE = """<html><head><script>top.location = "/stolen"</script></head>
<body onload="top.location = '/stolen'"><img id="own" src="cid:own">
<img src="http://127.0.0.1:9/tracker"><iframe src="/login"></iframe>
<form action="/register" method="post"><button>Win</button></form>
<a href="%s/register">Join</a></body></html>"""


async def send(site: Site, message: EmailMessage) -> None:
    port = re.search(r"SMTP on port (\d+)", site.greeting)
    assert port is not None
    await aiosmtplib.send(
        message, hostname="127.0.0.1", port=int(port[1]), start_tls=False, local_hostname="localhost"
    )


def hostile_mail(url: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Beware", "a@example.com", "b@example.com"
    message.set_content("Beware.")
    message.add_alternative(HOSTILE % url, subtype="html")
    message.add_attachment(PIXEL, maintype="image", subtype="gif", cid="<own>", disposition="inline")
    return message


async def test_a_hostile_mail_is_shown_and_kept_at_bay(page: Page, tmp_path: Path) -> None:
    loaded: list[str] = []
    page.on("requestfinished", lambda request: loaded.append(request.url))
    async with dev_site(tmp_path) as site:
        await page.goto(f"{site.url}/mailbox")
        await expect(page.get_by_text("No mail yet.")).to_be_visible()
        await send(site, hostile_mail(site.url))
        await page.get_by_role("link", name="Beware").click()  # the list has kept up by itself
        await page.get_by_role("link", name="HTML").click()

        frame = page.frame_locator("iframe")
        await expect(frame.locator("#own")).to_have_js_property("naturalWidth", 1)
        await frame.get_by_role("button", name="Win").click()
        await expect(page).to_have_url(re.compile("/mailbox/1"))
        assert not [url for url in loaded if "tracker" in url]
        assert not [url for url in loaded if url.endswith(("/stolen", "/login"))]

        await frame.get_by_role("link", name="Join").click()
        await expect(page).to_have_title("Register - Microblog")
