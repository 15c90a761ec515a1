"""The commands `microblog outbox` and `microblog courier`."""

import asyncio
import json
import logging
import signal
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
from quart import Quart

from app.cli.context import inside_app
from app.outbox import maintenance, queries
from app.outbox.courier import Courier
from app.outbox.models import Priority, State
from app.outbox.state import Outbox
from app.quart_mail.errors import escaped

_log = logging.getLogger(__name__)
MOST_LISTED = 1_000_000
MOST_NUMBER = 2**63 - 1
MOST_DAYS = 36_500
COLUMNS = "\t".join(
    ("MAIL", "POSTED (UTC)       ", "KIND AND RECIPIENT", "STATE", "ATTEMPTS", "NEXT TRY", "LAST REPLY")
)
Numbers = TypeVar("Numbers", int, tuple[int, ...])

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _numbers(_context: click.Context, _parameter: click.Parameter, value: Numbers) -> Numbers:
    """Return the number or numbers of mails; one too large for the database is treated as unknown."""
    for number in (value,) if isinstance(value, int) else value:
        if not 0 < number <= MOST_NUMBER:
            raise click.ClickException(f"There is no mail {number}.")
    return value


def _days(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    """Return a number of days that a date can go back by; NaN is rejected."""
    if value is not None and not 0 <= value <= MOST_DAYS:
        raise click.BadParameter(f"{value:g} is not a number of days from 0 to {MOST_DAYS}.")
    return value


@click.group()
def outbox() -> None:
    """Inspect and manage the mail in the outbox."""


@outbox.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice([s.value for s in State]))
@click.option(
    "--limit",
    type=click.IntRange(1, MOST_LISTED),
    default=50,
    show_default=True,
    help="Maximum number of mails to list.",
)
@click.option("--oldest", is_flag=True, help="List the oldest first.")
@as_json
@inside_app
async def list_(app: Quart, states: tuple[str, ...], limit: int, oldest: bool, as_json: bool) -> None:
    """List mails, the newest first."""
    database = app.extensions["database"]
    mails = await queries.list_(database, states=states, limit=limit, oldest=oldest)
    if as_json:
        _print_json([_readable(mail._asdict()) for mail in mails])
        return
    today = datetime.now(UTC).date()
    click.echo(COLUMNS)
    for mail in mails:
        doubt = " in doubt" if mail.in_doubt else ""
        reply = [f"{mail.last_code or ''} {mail.last_text}"] if mail.last_text else []
        posted = _in_full(mail.created_at)
        to = f" to {mail.recipient}" if mail.recipient else ""
        due = ""
        if mail.due_at:
            is_today = isinstance(mail.due_at, datetime) and mail.due_at.date() == today
            due = f"{mail.due_at:%H:%M:%S}" if is_today else _in_full(mail.due_at)
        state = f"{mail.state}{doubt}"
        columns = (mail.id, posted, f"{mail.kind}{to}", state, mail.attempts, due, *reply)
        click.echo("\t".join(escaped(str(column)) for column in columns))


@outbox.command()
@click.argument("mail", type=int, callback=_numbers)
@as_json
@inside_app
async def show(app: Quart, mail: int, as_json: bool) -> None:
    """Show one mail, without its body and secret parameters."""
    shown = await queries.show(app.extensions["outbox"], mail)
    if shown is None:
        raise click.ClickException(f"There is no mail {mail}.")
    values = _readable(shown)
    if as_json:
        _print_json(values)
        return
    for name, value in values.items():
        if value is not None:
            click.echo(f"{name:12}{escaped(str(value))}")


@outbox.command()
@click.argument("mails", nargs=-1, type=int, required=True, callback=_numbers)
@inside_app
async def retry(app: Quart, mails: tuple[int, ...]) -> None:
    """Queue failed or expired mails again, by number."""
    for mail in mails:
        try:
            is_queued = await maintenance.retry(app.extensions["outbox"], mail)
        except maintenance.NoSuchMail as error:
            raise click.ClickException(str(error)) from None
        if not is_queued:
            raise click.ClickException(
                f"Mail {mail} has not failed or expired, or it is too late to send it."
            )
        click.echo(f"Mail {mail} is queued again.")


@outbox.command()
@click.option("--days", type=float, callback=_days, help="Days since then, at least; default OUTBOX_KEEP.")
@inside_app
async def purge(app: Quart, days: float | None) -> None:
    """Delete old mails that are sent, failed, skipped or expired. Waiting mail is kept."""
    keep = None if days is None else days * 86400
    count = await maintenance.purge(app.extensions["outbox"], keep)
    click.echo(f"Deleted {count} mail{'' if count == 1 else 's'}.")


@outbox.command()
@as_json
@inside_app
async def stats(app: Quart, as_json: bool) -> None:
    """Count mails by state, and show how long the oldest have waited."""
    overview = await queries.stats(app.extensions["outbox"])
    if as_json:
        _print_json(asdict(overview))
        return
    for state, count in overview.states.items():
        click.echo(f"{state:10}{count:8}")
    click.echo(f"in doubt  {overview.in_doubt:8} (may arrive twice)")
    if overview.oldest_due is not None:
        click.echo(f"Oldest mail due: {overview.oldest_due:.0f} s ago.")
    if overview.oldest_waiting is not None:
        click.echo(f"Oldest waiting mail: posted {overview.oldest_waiting:.0f} s ago.")


@click.command()
@inside_app
async def courier(app: Quart) -> None:
    """Deliver mail without serving pages, until SIGTERM or SIGINT."""
    box: Outbox = app.extensions["outbox"]
    courier: Courier = app.extensions["outbox_courier"]
    stop_requested = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    running = asyncio.create_task(courier.run(), name="courier")
    _log.info("Mail courier started. Press Ctrl-C to stop.")
    waiting = asyncio.create_task(stop_requested.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await courier.stop(box.grace)
    await running


def _in_full(time: datetime | str) -> str:
    """Return a time with its date; text that is not a time (see `queries.list_`) as it is."""
    return time if isinstance(time, str) else f"{time:%Y-%m-%d %H:%M:%S}"


def _readable(mail: dict[str, Any]) -> dict[str, Any]:
    return mail | {"priority": Priority(mail["priority"]).name.lower()}


def _print_json(value: Any) -> None:
    def plain(other: Any) -> str:
        return other.isoformat() if isinstance(other, datetime) else str(other)

    click.echo(json.dumps(value, default=plain, indent=2))
