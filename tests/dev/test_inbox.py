"""The inbox shows caught mails, to this machine only, and makes untrusted HTML harmless."""

from __future__ import annotations

import re

import pytest

from tests.dev.conftest import RECIPIENT, Post, Visitor, letter

LINK = "http://127.0.0.1:8000/reset_password/eyJ.x-y_z"


async def test_an_empty_mailbox_says_so(visitor: Visitor) -> None:
    assert "No mail yet." in await visitor.page("/mailbox")


async def test_mails_are_listed_newest_first(visitor: Visitor, post: Post) -> None:
    await post.send(letter(subject="First"))
    await post.send(letter(subject="Second <b>"), RECIPIENT, "bcc@example.com")

    page = await visitor.page("/mailbox")

    assert page.index("Second &lt;b&gt;") < page.index(">First<")
    assert "Microblog &lt;noreply@example.com&gt;" in page
    assert "susan@example.com, bcc@example.com" in page
    assert 'href="/mailbox/2"' in page


@pytest.mark.parametrize(("path", "is_styled"), [("/mailbox", True), ("/mailbox/1", True), ("/login", False)])
async def test_only_these_pages_load_their_look(
    visitor: Visitor, post: Post, path: str, is_styled: bool
) -> None:
    await post.send(letter())
    sheets = re.findall(r'rel="stylesheet" href="([^"]+)"', await visitor.page(path))
    styles = "".join([await visitor.page(sheet) for sheet in sheets])
    assert ".flash" in styles
    assert (".mails" in styles) is is_styled
    assert (".letter" in styles) is is_styled


async def test_the_list_can_poll_for_the_newest_mail(visitor: Visitor, post: Post) -> None:
    assert await (await visitor.get("/mailbox/newest")).get_json() == {"newest": 0}
    await post.send(letter())
    assert await (await visitor.get("/mailbox/newest")).get_json() == {"newest": 1}


async def test_the_text_has_working_links(visitor: Visitor, post: Post) -> None:
    await post.send(letter(text=f"Open this:\n\n{LINK}\n\n<script>alert(1)</script>\n"))

    page = await visitor.page("/mailbox/1")

    assert re.search(rf'<a href="{re.escape(LINK)}"[^>]*>{re.escape(LINK)}</a>', page)
    assert "target=" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


async def test_the_source_is_shown_and_saved(visitor: Visitor, post: Post) -> None:
    mail = await post.send(letter(subject="Whole"))

    assert "Subject: Whole" in await visitor.page("/mailbox/1?view=source")
    response = await visitor.get("/mailbox/1/source")
    assert await response.get_data() == mail.content
    assert "mail-1.eml" in response.headers["Content-Disposition"]


async def test_html_is_framed_and_disarmed(visitor: Visitor, post: Post) -> None:
    await post.send(letter(html=f'<html><head></head><body><a href="{LINK}">Reset</a></body></html>'))

    page = await visitor.page("/mailbox/1?view=html")
    assert 'src="/mailbox/1/html"' in page
    sandbox = re.search(r'sandbox="([^"]*)"', page)
    assert sandbox is not None
    assert not {"allow-scripts", "allow-same-origin", "allow-forms"} & set(sandbox[1].split())

    response = await visitor.get("/mailbox/1/html")
    policy = {
        rule.split()[0]: rule.split()[1:] for rule in response.headers["Content-Security-Policy"].split(";")
    }
    assert policy["default-src"] == ["'none'"]
    assert policy["img-src"] == ["'self'", "data:"]
    assert policy["frame-ancestors"] == ["'self'"]
    assert policy["sandbox"] == sandbox[1].split()
    assert "script-src" not in policy
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert '<head><base target="_top">' in await response.get_data(as_text=True)


async def test_html_is_shown_first_when_there_is_no_text(visitor: Visitor, post: Post) -> None:
    await post.send(letter(text=None, html="<p>Rich only</p>"))

    assert "<iframe" in await visitor.page("/mailbox/1")
    assert "no text body" in await visitor.page("/mailbox/1?view=text")


async def test_inline_pictures_come_from_the_mail_itself(visitor: Visitor, post: Post) -> None:
    message = letter(html='<img src="cid:pic%40x"><img src="cid:other@x">')
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", cid="<pic@x>", disposition="inline")
    await post.send(message)

    body = await visitor.page("/mailbox/1/html")

    assert '<img src="/mailbox/1/parts/1">' in body
    assert '<img src="cid:other@x">' in body
    picture = await visitor.get("/mailbox/1/parts/1")
    assert picture.headers["Content-Type"] == "image/png"
    assert await picture.get_data() == b"\x89PNG"


@pytest.mark.parametrize(
    ("kind", "name"), [("html", "page.html"), ("svg+xml", "drawing.svg"), ("plain", "Ω.txt")]
)
async def test_attachments_are_saved_and_never_opened(
    visitor: Visitor, post: Post, kind: str, name: str
) -> None:
    message = letter()
    message.add_attachment(b"<script>1</script>", maintype="text", subtype=kind, filename=name)
    await post.send(message)

    assert name in await visitor.page("/mailbox/1")
    response = await visitor.get("/mailbox/1/parts/1")

    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert await response.get_data() == b"<script>1</script>"


PATHS = [
    "/mailbox",
    "/mailbox/newest",
    "/mailbox/1",
    "/mailbox/1/html",
    "/mailbox/1/source",
    "/mailbox/1/parts/1",
]


@pytest.mark.parametrize("path", PATHS)
async def test_only_this_machine_may_look(visitor: Visitor, post: Post, path: str) -> None:
    message = letter(html="<p>Secret</p>")
    message.add_attachment(b"Secret", maintype="text", subtype="x", filename="secret")
    await post.send(message)

    assert (await visitor.get(path)).status_code == 200
    assert (await visitor.get(path, peer="::1")).status_code == 200
    assert (await visitor.get(path, peer="192.0.2.7")).status_code == 404
    assert (await visitor.get(path, peer="<local>")).status_code == 404
    assert (await visitor.get(path, X_Forwarded_For="127.0.0.1")).status_code == 404
    assert (await visitor.get(path, Forwarded="for=127.0.0.1")).status_code == 404
    assert (await visitor.get(path, X_Real_IP="127.0.0.1")).status_code == 404
    assert (await visitor.get(path, Via="1.1 proxy")).status_code == 404
    assert (await visitor.get(path, X_Forwarded_Proto="https")).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/mailbox/2",
        "/mailbox/x",
        "/mailbox/1/parts/9",
        "/mailbox/1/parts/0",
        "/mailbox/1/html",
        f"/mailbox/{'9' * 5000}",
    ],
)
async def test_unknown_mails_and_parts_are_not_found(visitor: Visitor, post: Post, path: str) -> None:
    await post.send(letter())

    assert (await visitor.get(path)).status_code == 404


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\xfe",
        b"Subject: =?no-such?b?////?=\n\n",
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html; charset=x\n\n\xff",
        b'Content-Disposition: attachment; filename="\r\n a\x00"\nContent-Type: a b\n\n\xff',
    ],
)
async def test_malformed_mails_are_shown(visitor: Visitor, post: Post, content: bytes) -> None:
    await post.send(content)

    assert 'href="/mailbox/1"' in await visitor.page("/mailbox")
    for view in ("text", "html", "source", "nonsense"):
        await visitor.page(f"/mailbox/1?view={view}")
    for path in ("html", "source", "parts/1"):
        assert (await visitor.get(f"/mailbox/1/{path}")).status_code in {200, 404}


async def test_every_page_leads_to_the_mailbox_while_there_is_one(visitor: Visitor) -> None:
    assert 'href="/mailbox"' in await visitor.page("/login")
