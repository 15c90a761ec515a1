"""The search page."""

from urllib.parse import quote

from quart import current_app, redirect, render_template, request
from quart.typing import ResponseReturnValue

from app.accounts.auth import login_required, visitor
from app.posts import people
from app.search import queries
from app.web import limits
from app.web.forms import too_long
from app.web.languages import lazy_gettext
from app.web.paging import parse_cursor
from app.web.templating import Blueprint

MAX_QUERY_LENGTH = 200
SEARCHES_PER_ACCOUNT = "60 per minute"

NO_WORD = lazy_gettext("Type a word to search for.")
TOO_MANY_SEARCHES = lazy_gettext("You are searching too fast. Please try again in %(time)s.")

blueprint = Blueprint("search", __name__)


@blueprint.get("/search")
@login_required
async def search() -> ResponseReturnValue:
    """Show the posts with all words of the query and, on the first page, people of that name."""
    me = await visitor()
    query = request.args.get("q", "").replace("\0", "\N{REPLACEMENT CHARACTER}")
    if not query.strip():
        return redirect("/explore")
    if seconds := await limits.count(SEARCHES_PER_ACCOUNT, f"search:{me.id}"):
        message = TOO_MANY_SEARCHES % {"time": limits.duration(seconds)}
        return await _render(query, message=message), 429, {"Retry-After": str(seconds)}
    if len(query) > MAX_QUERY_LENGTH:
        message = too_long(len(query), MAX_QUERY_LENGTH)
        return await _render(query, message=message)
    wanted = queries.query_words(query)
    if not wanted:
        return await _render(query, message=NO_WORD)
    cursor = parse_cursor(request.args)
    page = await queries.posts_with(wanted, cursor, current_app.config["POSTS_PER_PAGE"])
    found = [] if cursor else await queries.people_called(query, me.id)
    return await _render(query, page=page, named=found, path=f"/search?q={quote(query, safe='')}")


async def _render(query: str, **context: object) -> str:
    suggested = people.suggestions().kept((await visitor()).id)
    return await render_template(
        "search/results.html", title=lazy_gettext("Search"), query=query, suggested=suggested, **context
    )
