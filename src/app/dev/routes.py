"""The pages of caught mail: for a developer at this machine only.

A mail's HTML is a stranger's: it has an address of its own, whose policy runs no script and loads
nothing from elsewhere, and is shown in a sandboxed frame. All other headers are those of every page.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from quart import Quart, Response, abort, current_app, jsonify, render_template, request

from app.dev.mail_parser import ATTACHED, Letter, read_letter, read_source
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
# Formats a browser draws without running anything; SVG is not one of them.
PICTURES = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"}
VIEWS = ("text", "html", "source")

blueprint = Blueprint("mailbox", __name__, url_prefix=PATH)


def init_app(app: Quart, mailbox: Mailbox) -> None:
    """Show `mailbox` at /mailbox, and a link to it at the foot of every page."""
    app.extensions["mailbox"] = mailbox
    app.jinja_env.globals["mailbox_path"] = PATH
    app.register_blueprint(blueprint)


@blueprint.before_request
async def only_from_here() -> None:
    """Answer 404 to everybody else than this machine."""
    if not is_local_client():
        abort(404)


@blueprint.get("")
async def inbox() -> str:
    """List the mails, newest first."""
    return await render_template("mailbox/inbox.html", title="Mailbox", mails=list(_mailbox()))


@blueprint.get("/newest")
async def newest() -> Response:
    """Say which mail is the newest; the list asks now and then."""
    return jsonify({"newest": _mailbox().newest_id})


@blueprint.get("/<mail_id>")
async def mail(mail_id: str) -> str:
    """Show one mail, as ?view= says: text, html or source."""
    caught = _find(mail_id)
    letter = read_letter(caught.content)
    view = request.args.get("view", "")
    return await render_template(
        "mailbox/mail.html",
        title=caught.heading.subject or "No subject",
        mail=caught,
        letter=letter,
        source=read_source(caught.content),
        view=view if view in VIEWS else _best_view(letter),
        sandbox=SANDBOX,
    )


@blueprint.get("/<mail_id>/html")
async def html(mail_id: str) -> Response:
    """Send the mail's HTML body for its frame: links lead the whole page, inline pictures come from here."""
    caught = _find(mail_id)
    letter = read_letter(caught.content)
    if letter.html is None:
        abort(404)
    body = _with_top_links(_with_pictures(letter.html, letter, base=f"{PATH}/{caught.id}/parts"))
    headers = {"Content-Security-Policy": HTML_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return Response(body, content_type="text/html; charset=utf-8", headers=headers)


@blueprint.get("/<mail_id>/source")
async def source(mail_id: str) -> Response:
    """Send the mail as a file, byte for byte."""
    caught = _find(mail_id)
    return _file(caught.content, filename=f"mail-{caught.id}.eml", content_type="message/rfc822")


@blueprint.get("/<mail_id>/parts/<number>")
async def part(mail_id: str, number: str) -> Response:
    """Send an attached file to be saved; pictures keep their type, so that frames can show them."""
    parts = read_letter(_find(mail_id).content).parts
    file = next((part for n, part in enumerate(parts, start=1) if str(n) == number), None) or abort(
        404
    )
    content_type = file.content_type if file.content_type in PICTURES else ATTACHED
    return _file(file.data, filename=file.filename, content_type=content_type)


def _mailbox() -> Mailbox:
    mailbox: Mailbox = current_app.extensions["mailbox"]
    return mailbox


def _find(mail_id: str) -> CaughtMail:
    return _mailbox().find(mail_id) or abort(404)


def _best_view(letter: Letter) -> str:
    if letter.text is not None:
        return "text"
    return "source" if letter.html is None else "html"


def _file(data: bytes, *, filename: str, content_type: str) -> Response:
    response = Response(data, content_type=content_type)
    response.headers.set("Content-Disposition", "attachment", filename=filename)
    response.headers["Content-Security-Policy"] = FILE_POLICY
    # The frame has an origin of its own; without this its pictures would be refused as a stranger's.
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


def _with_pictures(body: str, letter: Letter, *, base: str) -> str:
    """Lead cid: addresses (RFC 2392) to the parts that carry those Content-IDs."""
    numbers = {
        part.content_id: n for n, part in enumerate(letter.parts, start=1) if part.content_id
    }

    def address(match: re.Match[str]) -> str:
        number = numbers.get(unquote(match[1]))
        return f"{base}/{number}" if number else match[0]

    return re.sub(r"""\bcid:([^\s"'<>)]+)""", address, body, flags=re.IGNORECASE)


def _with_top_links(body: str) -> str:
    """Put a <base> first in the head, or first of all without one, so that links leave the frame."""
    head = re.search(r"<head(\s[^>]*)?>", body, flags=re.IGNORECASE)
    at = head.end() if head else 0
    return f'{body[:at]}<base target="_top">{body[at:]}'
