"""`microblog outbox` and `microblog courier`: looking after the mail from the command line."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

import click
from quart import Quart

from app.cli.context import inside_app
from app.outbox import queries, upkeep
from app.outbox.courier import Courier
from app.outbox.models import Priority, State
from app.outbox.state import Outbox

_log = logging.getLogger(__name__)
MOST_LISTED = 1_000_000
MOST_NUMBER = 2**63 - 1
MOST_DAYS = 36_500
HEAD = "\t".join(
    (
        "MAIL",
        "ASKED FOR (UTC)    ",
        "KIND AND RECIPIENT",
        "STATE",
        "ATTEMPTS",
        "NEXT TRY",
        "LAST ANSWER",
    )
)
Numbers = TypeVar("Numbers", int, tuple[int, ...])

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _numbers(_context: click.Context, _parameter: click.Parameter, value: Numbers) -> Numbers:
    """Return the number, or numbers, of mails; what no database could hold is told like any unknown one."""
    for number in (value,) if isinstance(value, int) else value:
        if not 0 < number <= MOST_NUMBER:
            raise click.ClickException(f"There is no mail {number}.")
    return value


def _days(
    _context: click.Context, _parameter: click.Parameter, value: float | None
) -> float | None:
    """Return a number of days that a calendar can go back; not a number is none."""
    if value is not None and not 0 <= value <= MOST_DAYS:
        raise click.BadParameter(f"{value:g} is not a number of days from 0 to {MOST_DAYS}.")
    return value


@click.group()
def outbox() -> None:
    """Look after the mail that waits, went out or failed."""


@outbox.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice([s.value for s in State]))
@click.option(
    "--limit",
    type=click.IntRange(1, MOST_LISTED),
    default=50,
    show_default=True,
    help="At most so many.",
)
@click.option("--oldest", is_flag=True, help="The oldest first.")
@as_json
@inside_app
async def list_(
    app: Quart, states: tuple[str, ...], limit: int, oldest: bool, as_json: bool
) -> None:
    """List mails, the newest first."""
    database = app.extensions["database"]
    found = await queries.list_(database, states=states, limit=limit, oldest=oldest)
    if as_json:
        _print_json([_values(one) for one in found])
        return
    click.echo(HEAD)
    for one in found:
        doubt = " in doubt" if one.in_doubt else ""
        said = f"\t{one.last_code or ''} {one.last_text}" if one.last_text else ""
        when = f"{one.created_at:%Y-%m-%d %H:%M:%S}"
        to = f" to {one.recipient}" if one.recipient else ""
        due = f"{one.due_at:%H:%M:%S}" if one.due_at else ""
        state = f"{one.state}{doubt}"
        click.echo(f"{one.id}\t{when}\t{one.kind}{to}\t{state}\t{one.attempts}\t{due}{said}")


@outbox.command()
@click.argument("mail", type=int, callback=_numbers)
@as_json
@inside_app
async def show(app: Quart, mail: int, as_json: bool) -> None:
    """Show all that may be known of MAIL (its number): never a body, nor what is secret."""
    found = await queries.show(app.extensions["outbox"], mail)
    if found is None:
        raise click.ClickException(f"There is no mail {mail}.")
    values = _values(found.delivery) | {"params": found.params, "subject": found.subject}
    if as_json:
        _print_json(values)
        return
    for name, value in values.items():
        if value is not None:
            click.echo(f"{name:12}{value}")


@outbox.command()
@click.argument("mails", nargs=-1, type=int, required=True, callback=_numbers)
@inside_app
async def retry(app: Quart, mails: tuple[int, ...]) -> None:
    """Queue MAILS (their numbers) again that failed or expired."""
    for mail in mails:
        try:
            is_queued = await upkeep.retry(app.extensions["outbox"], mail)
        except upkeep.NoSuchMail:
            raise click.ClickException(f"There is no mail {mail}.") from None
        if not is_queued:
            raise click.ClickException(
                f"Mail {mail} has neither failed nor expired, or it is too late for it."
            )
        click.echo(f"Mail {mail} waits again.")


@outbox.command()
@click.option(
    "--days", type=float, callback=_days, help="Done so long ago; OUTBOX_KEEP if not given."
)
@inside_app
async def purge(app: Quart, days: float | None) -> None:
    """Delete mails that were done long ago; those that wait are kept."""
    keep = None if days is None else days * 86400
    click.echo(f"Deleted {await upkeep.purge(app.extensions['outbox'], keep)}.")


@outbox.command()
@as_json
@inside_app
async def stats(app: Quart, as_json: bool) -> None:
    """Count mails by state, and tell how long the oldest one that is due has waited."""
    found = await queries.stats(app.extensions["outbox"])
    if as_json:
        _print_json(asdict(found))
        return
    for state, count in found.states.items():
        click.echo(f"{state:10}{count:8}")
    click.echo(f"in doubt  {found.in_doubt:8} of these may have arrived twice")
    if found.oldest_due is not None:
        click.echo(f"The oldest mail that is due waits for {found.oldest_due:.0f} s.")
    if found.oldest_waiting is not None:
        click.echo(f"The oldest that is not done was asked for {found.oldest_waiting:.0f} s ago.")


@click.command()
@inside_app
async def courier(app: Quart) -> None:
    """Deliver mail without serving pages, until SIGTERM or SIGINT."""
    box: Outbox = app.extensions["outbox"]
    deliverer: Courier = app.extensions["outbox_courier"]
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    running = asyncio.create_task(deliverer.run(), name="courier")
    _log.info("The courier delivers; stop it with Ctrl-C")
    await asyncio.wait(
        [running, stopping := asyncio.create_task(asked_to_stop.wait())],
        return_when=asyncio.FIRST_COMPLETED,
    )
    stopping.cancel()
    await deliverer.stop(box.grace)
    await running


def _values(one: queries.Listed) -> dict[str, Any]:
    return asdict(one) | {"priority": Priority(one.priority).name.lower()}


def _print_json(value: Any) -> None:
    def plain(other: Any) -> str:
        return other.isoformat() if isinstance(other, datetime) else str(other)

    click.echo(json.dumps(value, default=plain, indent=2))
