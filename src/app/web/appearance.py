"""How the site presents itself: the theme, icons, and addresses that browsers ask every site for."""

from typing import Any

from quart import Quart, Response, current_app, redirect, request
from quart.typing import ResponseReturnValue
from wtforms import StringField

from app.web import languages
from app.web.forms import Form
from app.web.languages import gettext
from app.web.security import safe_path, this_page
from app.web.static import send, static_url
from app.web.templating import Blueprint

THEME_COOKIE = "theme"
THEMES = ("light", "dark")
"""What the cookie may hold; without it the theme is that of the visitor's system."""
THEME_SECONDS = 365 * 86400
CACHED = "public, max-age=86400"

blueprint = Blueprint("appearance", __name__)


def init_app(app: Quart) -> None:
    """Serve these pages, and let templates call `theme()` and `this_page()`."""
    app.jinja_env.globals.update(theme=theme, this_page=_page_to_return_to)
    app.register_blueprint(blueprint)


class ThemeForm(Form):
    """The three buttons in the footer; any value that is not in THEMES means the system's theme."""

    theme = StringField()
    next = StringField()


def theme() -> str:
    """Return the theme that this visitor has chosen, "" if none."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else ""


def _page_to_return_to() -> str:
    """Return the path of this page; for the answer to a form, and for pages with a token, the first page."""
    has_token = "token" in (request.view_args or {})
    return this_page() if request.method in ("GET", "HEAD") and not has_token else "/"


@blueprint.post("/theme")
async def choose_theme() -> ResponseReturnValue:
    """Store the theme in a cookie, and go back to the page with the button."""
    form = await ThemeForm.from_request()
    response = redirect(safe_path(form.next.data) or "/")
    if not form.validate_on_submit():
        return response
    if form.theme.data in THEMES:
        secure = current_app.config["SESSION_COOKIE_SECURE"]
        response.set_cookie(
            THEME_COOKIE, form.theme.data, THEME_SECONDS, secure=secure, httponly=True, samesite="Lax"
        )
    else:
        response.delete_cookie(THEME_COOKIE)
    return response


@blueprint.get("/favicon.ico")
async def favicon() -> Response:
    """Send the icon to browsers that ask for it without having read a page."""
    name = static_url("favicon.ico").rpartition("/")[2]
    return send(name, CACHED)


@blueprint.get("/site.webmanifest")
async def manifest() -> tuple[dict[str, Any], dict[str, str]]:
    """Describe the site to systems on which it can be installed (W3C Web Application Manifest)."""
    icons = [
        {"src": static_url(name), "sizes": sizes, "type": media_type}
        for name, sizes, media_type in (
            ("logo.svg", "any", "image/svg+xml"),
            ("icon-192.png", "192x192", "image/png"),
            ("icon-512.png", "512x512", "image/png"),
        )
    ]
    content = {
        "name": "Microblog",
        "short_name": "Microblog",
        "lang": languages.current().code,
        "description": gettext("Short posts from people you follow."),
        "start_url": "/",
        "display": "minimal-ui",
        "background_color": "#fcfbf8",
        "theme_color": "#fcfbf8",
        "icons": icons,
    }
    return content, {
        "Content-Type": "application/manifest+json",
        "Cache-Control": CACHED,
        "Vary": "Accept-Language, Cookie",
    }


@blueprint.get("/.well-known/change-password")
async def change_password() -> ResponseReturnValue:
    """Lead password managers to the form (W3C A Well-Known URL for Changing Passwords)."""
    return redirect("/change_password")
