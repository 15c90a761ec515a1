"""The inbox of `microblog dev`, which only this machine can open.

A mail's HTML is untrusted: it is served at a URL of its own, whose Content-Security-Policy allows no
scripts and no remote content, and is shown in a sandboxed frame.
"""

import re
from urllib.parse import unquote

from quart import Quart, Response, abort, current_app, jsonify, render_template, request

from app.dev.mail_parser import ATTACHED, ParsedMail, decode_source, parse_mail
from app.dev.mailbox import CaughtMail, Mailbox
from app.web.security import is_local_client
from app.web.templating import Blueprint

PATH = "/mailbox"
SANDBOX = "allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation"
HTML_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; "
    f"form-action 'none'; base-uri 'none'; frame-ancestors 'self'; sandbox {SANDBOX}"
)
FILE_POLICY = "default-src 'none'; sandbox"
# Formats that cannot hold scripts, unlike SVG.
IMAGE_TYPES = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"}
VIEWS = ("text", "html", "source")

blueprint = Blueprint("mailbox", __name__, url_prefix=PATH)


def init_app(app: Quart, mailbox: Mailbox) -> None:
    """Serve `mailbox` at /mailbox and link to it in the footer of every page."""
    app.extensions["mailbox"] = mailbox
    app.jinja_env.globals["mailbox_path"] = PATH
    app.register_blueprint(blueprint)


@blueprint.before_request
async def require_this_machine() -> None:
    """Answer 404 to other machines."""
    if not is_local_client():
        abort(404)


@blueprint.get("")
async def inbox() -> str:
    """List the mails, newest first."""
    return await render_template("mailbox/inbox.html", title="Mailbox", mails=list(_mailbox()))


@blueprint.get("/newest")
async def newest() -> Response:
    """Return the number of the newest mail, which the inbox polls."""
    return jsonify({"newest": _mailbox().newest_id})


@blueprint.get("/<mail_id>")
async def mail(mail_id: str) -> str:
    """Show one mail; ?view= is text, html or source."""
    caught = _find(mail_id)
    parsed = parse_mail(caught.content)
    best = "text" if parsed.text is not None else "source" if parsed.html is None else "html"
    view = request.args.get("view", "")
    return await render_template(
        "mailbox/mail.html",
        title=caught.summary.subject or "(no subject)",
        mail=caught,
        parsed=parsed,
        source=decode_source(caught.content),
        view=view if view in VIEWS else best,
        sandbox=SANDBOX,
    )


@blueprint.get("/<mail_id>/html")
async def html(mail_id: str) -> Response:
    """Return the HTML body for the frame, with links that leave it and inline images from this mail."""
    caught = _find(mail_id)
    parsed = parse_mail(caught.content)
    if parsed.html is None:
        abort(404)
    body = _with_inline_images(parsed.html, parsed, base=f"{PATH}/{caught.id}/parts")
    # Links leave the frame by a <base> at the start of the head, or of the body without one.
    head = re.search(r"<head(\s[^>]*)?>", body, flags=re.IGNORECASE)
    at = head.end() if head else 0
    body = f'{body[:at]}<base target="_top">{body[at:]}'
    headers = {"Content-Security-Policy": HTML_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return Response(body, content_type="text/html; charset=utf-8", headers=headers)


@blueprint.get("/<mail_id>/source")
async def source(mail_id: str) -> Response:
    """Download the mail as it was received."""
    caught = _find(mail_id)
    return _file(caught.content, filename=f"mail-{caught.id}.eml", content_type="message/rfc822")


@blueprint.get("/<mail_id>/parts/<number>")
async def part(mail_id: str, number: str) -> Response:
    """Download an attachment. Images keep their type so that the frame can show them."""
    parts = parse_mail(_find(mail_id).content).parts
    file = {str(n): part for n, part in enumerate(parts, start=1)}.get(number) or abort(404)
    content_type = file.content_type if file.content_type in IMAGE_TYPES else ATTACHED
    return _file(file.data, filename=file.filename, content_type=content_type)


def _mailbox() -> Mailbox:
    mailbox: Mailbox = current_app.extensions["mailbox"]
    return mailbox


def _find(mail_id: str) -> CaughtMail:
    return _mailbox().find(mail_id) or abort(404)


def _file(data: bytes, *, filename: str, content_type: str) -> Response:
    response = Response(data, content_type=content_type)
    response.headers.set("Content-Disposition", "attachment", filename=filename)
    response.headers["Content-Security-Policy"] = FILE_POLICY
    # The sandboxed frame has an opaque origin; without this its images would be blocked.
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


def _with_inline_images(body: str, parsed: ParsedMail, *, base: str) -> str:
    """Replace cid: URLs (RFC 2392) by the URLs of the parts with those Content-IDs."""
    numbers = {part.content_id: n for n, part in enumerate(parsed.parts, start=1) if part.content_id}

    def address(match: re.Match[str]) -> str:
        number = numbers.get(unquote(match[1]))
        return f"{base}/{number}" if number else match[0]

    return re.sub(r"""\bcid:([^\s"'<>)]+)""", address, body, flags=re.IGNORECASE)
