"""Error pages in the site's own look, with sentences for people."""

from __future__ import annotations

import logging

from quart import Quart, Response, make_response, render_template
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException, InternalServerError, ServiceUnavailable

from app.database import NOT_MIGRATED, DatabaseUnavailable, is_schema_outdated
from app.logs import request_id
from app.web import health

RETRY_AFTER_SECONDS = 5
SENTENCES = {
    400: ("Bad Request", "Your browser sent something this site does not understand."),
    404: ("Not Found", "There is nothing at this address."),
    405: ("Method Not Allowed", "This address does not do that."),
    408: ("Too Slow", "What your browser sent took too long to arrive. Please try again."),
    413: ("Too Large", "What was sent is larger than this site accepts."),
    414: ("Address Too Long", "The address is longer than this site accepts."),
    429: ("Too Many Requests", "That was tried too often."),
    500: (
        "An unexpected error has occurred",
        "The administrator has been notified. Sorry for the inconvenience!",
    ),
    503: (
        "Temporarily Unavailable",
        "The site cannot answer right now. Please try again in a few seconds.",
    ),
}
log = logging.getLogger(__name__)


def init_app(app: Quart) -> None:
    """Answer every error with a page, in DEBUG and TESTING too."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(HTTPException, show)
    app.register_error_handler(DatabaseUnavailable, unavailable)
    app.register_error_handler(DBAPIError, refused)


async def show(error: HTTPException) -> Response:
    """Return the page for `error`, keeping the headers it asks for (Allow, Retry-After)."""
    if error.response is not None or error.code is None or error.code < 400:
        return error.get_response()  # type: ignore[return-value]
    title, sentence = SENTENCES.get(error.code, (error.name, "This request cannot be answered."))
    page = await render_template(
        "errors/error.html",
        code=error.code,
        title=title,
        message=_own_words(error) or sentence,
        retry_after=getattr(error, "retry_after", None),
        request_id=request_id.get() if error.code == 500 else None,
    )
    response: Response = await make_response(page, error.code)  # type: ignore[assignment]
    for name, value in error.get_headers():
        if name != "Content-Type":
            response.headers[name] = value
    return response


async def unavailable(error: Exception) -> Response:
    """Return the 503 page for something that passes by itself, such as a database restarting."""
    log.warning("answered 503: %s", str(error) or type(error).__name__)
    return await show(ServiceUnavailable(retry_after=RETRY_AFTER_SECONDS))


async def refused(error: DBAPIError) -> Response:
    """Return the 503 page where the tables are not this version's; else it is an error as any other."""
    if is_schema_outdated(error) and not await health.is_migrated():
        return await unavailable(DatabaseUnavailable(NOT_MIGRATED))
    raise error


def _own_words(error: HTTPException) -> str | None:
    """Return what `abort(code, "...")` said, unless it is Werkzeug's standard description."""
    if isinstance(error, InternalServerError) or error.description == type(error).description:
        return None
    return error.description
