"""The `microblog` command."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import click
from alembic.util import CommandError
from quart import Quart

from app import create_app, mail
from app import outbox as outbox_room
from app.accounts.cli import user
from app.accounts.models import User
from app.cli.console import interact
from app.cli.context import inside_app
from app.database import UPGRADE_COMMAND, DatabaseUnavailable, reading, writing
from app.dev import server
from app.migrations import HEAD_REVISION, adoption
from app.migrations import run as migrations
from app.migrations.recognition import NotMicroblog
from app.outbox.cli import courier, outbox
from app.posts.models import Post
from app.quart_mail import Message
from app.settings import SettingsError
from app.settings.parsing import address as parse_address


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="microblog")
@click.pass_context
def microblog(context: click.Context) -> None:
    """Run and look after a Microblog; settings come from the environment and `.env`."""
    context.obj = create_app


@microblog.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    envvar="PORT",
    show_envvar=True,
    show_default=True,
    help="0: a free one.",
)
@click.option("--demo", is_flag=True, help="Fill the site with people, posts and follows first.")
def dev(host: str, port: int, demo: bool) -> None:
    """Start the site and a mail catcher for trying it out on this machine."""
    asyncio.run(server.run(host=host, port=port, with_demo=demo))


@microblog.group()
def db() -> None:
    """Make, bring up and check the tables."""


@db.command()
@click.argument("revision", default="head")
@inside_app
async def upgrade(app: Quart, revision: str) -> None:
    """Bring the tables up to this version; a Microblog v0.10 file is adopted."""
    before, after = await migrations.upgrade(app.extensions["database"], revision)
    if before == after:
        click.echo(f"The tables are already up to date (revision {after}).")
    else:
        click.echo(f"Brought the tables from {_named(before)} to {_named(after)}.")
    if revision == "head":
        await _tell()


@db.command()
@click.argument("revision")
@inside_app
async def downgrade(app: Quart, revision: str) -> None:
    """Take the tables back to REVISION; ae346256b650 is Microblog v0.10's own."""
    before, after = await migrations.downgrade(app.extensions["database"], revision)
    click.echo(f"Took the tables from {_named(before)} back to {_named(after)}.")


@db.command()
@inside_app
async def current(app: Quart) -> None:
    """Show which revision the tables are at."""
    revision = await migrations.current(app.extensions["database"])
    if revision is None:
        click.echo(f"There are no tables yet; {UPGRADE_COMMAND} makes them.")
    elif revision == HEAD_REVISION:
        click.echo(f"The tables are at revision {revision}, the newest.")
    else:
        click.echo(
            f"The tables are at revision {revision}; {UPGRADE_COMMAND} brings them up to date."
        )


@db.command()
@inside_app
async def check(app: Quart) -> None:
    """Say whether the tables are those of this version."""
    await migrations.check(app.extensions["database"])
    click.echo(f"The tables are those of this version (revision {HEAD_REVISION}).")
    await _tell()


def _named(revision: str | None) -> str:
    return f"revision {revision}" if revision else "nothing"


async def _tell() -> None:
    """Print which accounts want a look, if there are any."""
    async with reading() as connection:
        for line in await adoption.findings(connection):
            click.echo(line)


@microblog.command()
def shell() -> None:
    """Open a Python console inside the site, in which `await` works."""
    # Hashing workers end with the statement that starts them, so the console hashes by itself.
    app = create_app({"PASSWORD_PROCESSES": 0})
    at_hand = {"mail": mail, "Message": Message, "User": User, "Post": Post, "outbox": outbox_room}
    interact(app, {"app": app, **at_hand, "reading": reading, "writing": writing})


@microblog.group("mail")
def mail_group() -> None:
    """Try the mail settings out."""


def _address(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    with suppress(ValueError):
        if parse_address(value):
            return value
    raise click.ClickException(f"{value!r} is no address to send a mail to.")


@mail_group.command("test")
@click.argument("address", callback=_address)
@inside_app
async def mail_test(app: Quart, address: str) -> None:
    """Send a test mail to ADDRESS at once, and say which settings were used and what came back."""
    probe = await mail.probe(address)
    click.echo("\n".join(probe.sentences))
    if not probe.ok:
        raise click.exceptions.Exit(1)


for command in (user, outbox, courier):
    microblog.add_command(command)


def main() -> None:
    """Run the command; what an operator can mend is said in one line, without a traceback."""
    try:
        microblog()
    except DatabaseUnavailable as error:
        raise SystemExit(f"DATABASE_URL: {str(error).removeprefix('DATABASE_URL: ')}") from None
    except (SettingsError, NotMicroblog, migrations.NotCurrent, CommandError) as error:
        raise SystemExit(str(error)) from None
