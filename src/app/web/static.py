"""Static files: few and small, so they are served from memory, with a digest in their names.

Quart's own static folder reads files in threads (1 to 7 under load, measured).
"""

import mimetypes
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from quart import Quart, Response, abort, current_app

from app.web.templating import Blueprint

FOLDER = Path(__file__).parent.parent / "static"
FOREVER = "public, max-age=31536000, immutable"

blueprint = Blueprint("static", __name__)


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file's bytes, its media type, and its name with the digest in it."""

    content: bytes
    media_type: str
    fingerprinted: str


def init_app(app: Quart) -> None:
    """Read the files, serve them below `/static/`, and let templates write `"NAME"|static_url`."""
    files = {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.is_file()}
    app.extensions["static"] = {file.fingerprinted: file for file in files.values()}
    app.extensions["static_urls"] = {name: f"/static/{file.fingerprinted}" for name, file in files.items()}
    app.jinja_env.filters["static_url"] = app.extensions["static_urls"].__getitem__
    app.register_blueprint(blueprint)


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    digest = sha256(content).hexdigest()[:12]
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    return StaticFile(content, media_type, f"{path.stem}.{digest}{path.suffix}")


def static_url(name: str) -> str:
    """Return the path of the file called `name`."""
    urls: dict[str, str] = current_app.extensions["static_urls"]
    return urls[name]


@blueprint.get("/static/<name>")
async def file(name: str) -> Response:
    """Send the file with the fingerprinted `name`; a changed file gets a new one."""
    return send(name, FOREVER)


def send(name: str, cache_control: str) -> Response:
    """Return the file with the fingerprinted `name`."""
    static: StaticFile | None = current_app.extensions["static"].get(name)
    if static is None:
        abort(404)
    return Response(static.content, content_type=static.media_type, headers={"Cache-Control": cache_control})
