"""Error pages: every error is answered with a page in the site's own look."""

import logging

from quart import Quart, Response, make_response, render_template
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException, InternalServerError, ServiceUnavailable

from app.database import NOT_MIGRATED, DatabaseUnavailable, is_schema_outdated
from app.logs import request_id
from app.web import health
from app.web.languages import lazy_gettext

RETRY_AFTER_SECONDS = 5
SENTENCES = {
    400: (
        lazy_gettext("Bad Request"),
        lazy_gettext("Your browser sent a request that this site cannot process."),
    ),
    403: (
        lazy_gettext("Forbidden"),
        lazy_gettext(
            "Your browser reports that another site sent this request, so it was refused. If you sent it"
            " from a page of this site, go back, reload that page and try again."
        ),
    ),
    404: (lazy_gettext("Not Found"), lazy_gettext("This page does not exist.")),
    405: (lazy_gettext("Method Not Allowed"), lazy_gettext("This page cannot be opened directly.")),
    408: (
        lazy_gettext("Request Timeout"),
        lazy_gettext("Your request took too long to arrive. Please try again."),
    ),
    413: (lazy_gettext("Too Large"), lazy_gettext("Your request is larger than this site accepts.")),
    414: (
        lazy_gettext("Address Too Long"),
        lazy_gettext("The address of this page is longer than this site accepts."),
    ),
    431: (
        lazy_gettext("Request Header Too Large"),
        lazy_gettext("Your browser sent more headers or cookies than this site accepts."),
    ),
    429: (lazy_gettext("Too Many Requests"), lazy_gettext("Too many attempts. Please try again later.")),
    500: (
        lazy_gettext("An unexpected error has occurred"),
        lazy_gettext("The administrator has been notified. Sorry for the inconvenience!"),
    ),
    503: (
        lazy_gettext("Temporarily Unavailable"),
        lazy_gettext(
            "The site cannot process your request right now, and nothing was saved. Please try again in a few"
            " seconds. Your browser's Back button brings back what you typed."
        ),
    ),
}
OTHER = (lazy_gettext("Request Failed"), lazy_gettext("This request could not be processed."))
log = logging.getLogger(__name__)


def init_app(app: Quart) -> None:
    """Answer every error with a page, in DEBUG and TESTING too."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(HTTPException, show)
    app.register_error_handler(DatabaseUnavailable, service_unavailable)
    app.register_error_handler(DBAPIError, database_error)


async def show(error: HTTPException) -> Response:
    """Return the page for `error`, with the headers it asks for (Allow, Retry-After)."""
    if error.response is not None or error.code is None or error.code < 400:
        return error.get_response()  # type: ignore[return-value]
    title, message = SENTENCES.get(error.code, OTHER)
    page = await render_template(
        "errors/error.html",
        code=error.code,
        title=title,
        message=_message(error) or message,
        request_id=request_id.get() if error.code == 500 else None,
    )
    response: Response = await make_response(page, error.code)  # type: ignore[assignment]
    for name, value in error.get_headers():
        if name != "Content-Type":
            response.headers[name] = value
    return response


async def service_unavailable(error: Exception) -> Response:
    """Return the 503 page for a temporary failure, such as a database that is restarting."""
    log.warning("answered 503: %s", str(error) or type(error).__name__)
    return await show(ServiceUnavailable(retry_after=RETRY_AFTER_SECONDS))


async def database_error(error: DBAPIError) -> Response:
    """Return the 503 page if the schema is out of date; otherwise raise `error` again."""
    if is_schema_outdated(error) and not await health.is_migrated():
        return await service_unavailable(DatabaseUnavailable(NOT_MIGRATED))
    raise error


def _message(error: HTTPException) -> str | None:
    """Return the message for `error` itself, or None to use the one for its status."""
    if isinstance(error, InternalServerError) or error.description == type(error).description:
        return None
    return error.description  # the second argument of `abort(code, "...")`
