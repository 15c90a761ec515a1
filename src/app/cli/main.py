"""The `microblog` command: running the site for development, the database, the console, mail."""

import asyncio
from contextlib import suppress

import click
from alembic.util import CommandError
from quart import Quart

from app import create_app, mail
from app import outbox as outbox_api
from app.accounts.cli import user
from app.accounts.models import User
from app.cli.console import interact
from app.cli.context import inside_app
from app.cli.translate import translate
from app.database import UPGRADE_COMMAND, DatabaseUnavailable, reading, writing
from app.dev import server
from app.migrations import HEAD_REVISION, adoption
from app.migrations import run as migrations
from app.migrations.adoption import NotMicroblog
from app.migrations.lineage import describe
from app.outbox.cli import courier, outbox
from app.posts.models import Post
from app.quart_mail import Message
from app.search.cli import search
from app.settings import SettingsError
from app.settings.parsing import address as parse_address


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="microblog")
@click.pass_context
def microblog(context: click.Context) -> None:
    """Run and manage a Microblog site. Settings come from the environment and `.env`."""
    context.obj = create_app


@microblog.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    envvar="PORT",
    show_envvar=True,
    show_default=True,
    help="Port to listen on; 0 picks a free one.",
)
@click.option(
    "--demo", is_flag=True, help="Add sample accounts and posts; uses var/demo.db unless DATABASE_URL is set."
)
def dev(host: str, port: int, demo: bool) -> None:
    """Run the site on this machine, with an inbox for its mail."""
    asyncio.run(server.run(host=host, port=port, with_demo=demo))


@microblog.group()
def db() -> None:
    """Create, upgrade and check the database schema."""


@db.command()
@click.argument("revision", default="head")
@inside_app
async def upgrade(app: Quart, revision: str) -> None:
    """Upgrade the schema to this version, or to REVISION.

    Creates the database if needed. A database of Microblog v0.10 to v0.23 is adopted.
    """
    database = app.extensions["database"]
    before, after = await migrations.upgrade(database, revision, progress=click.progressbar)
    if before == after:
        click.echo(f"The database schema is already at {describe(after)}.")
    elif not before:
        click.echo(f"Created the database schema ({describe(after)}).")
    else:
        click.echo(f"Upgraded the database schema from {describe(before)} to {' and '.join(after)}.")
    if revision == "head":
        await _print_account_notes()


@db.command()
@click.argument("revision")
@click.option("--drop-newer", is_flag=True, help="Delete the rows of tables that REVISION does not have.")
@inside_app
async def downgrade(app: Quart, revision: str, drop_newer: bool) -> None:
    """Downgrade the schema to REVISION.

    REVISION is a version of Microblog (v0.10, v0.14, v0.21, v0.22 or v0.23) or the id of a revision.
    """
    before, after = await migrations.downgrade(app.extensions["database"], revision, drop_newer=drop_newer)
    if before == after:
        click.echo(f"The database schema is already at {describe(after)}.")
    else:
        click.echo(f"Downgraded the database schema from {describe(before)} to {describe(after)}.")


@db.command()
@inside_app
async def current(app: Quart) -> None:
    """Show the revision of the database schema."""
    revisions = await migrations.current(app.extensions["database"])
    state = f"The database schema is at {describe(revisions)}"
    if not revisions:
        click.echo(f"The database has no tables yet; run {UPGRADE_COMMAND}.")
    elif revisions == (HEAD_REVISION,):
        click.echo(f"{state} (the latest).")
    elif len(revisions) > 1:
        click.echo(f"{state}, halfway through an upgrade or a downgrade; run {UPGRADE_COMMAND}.")
    else:
        click.echo(f"{state}, which is out of date; run {UPGRADE_COMMAND}.")


@db.command()
@inside_app
async def check(app: Quart) -> None:
    """Check that the schema is up to date.

    Also lists what needs attention in an adopted database.
    """
    await migrations.check(app.extensions["database"])
    click.echo(f"The database schema is up to date (revision {HEAD_REVISION}).")
    await _print_account_notes()


async def _print_account_notes() -> None:
    """Print a line for each adopted account, and for adopted tasks, that need attention."""
    async with reading() as connection:
        for line in await adoption.findings(connection):
            click.echo(line)


@microblog.command()
def shell() -> None:
    """Open a Python console with the app loaded."""
    # Password workers would end with the statement that starts them, so the console hashes in-process.
    app = create_app({"PASSWORD_PROCESSES": 0})
    names = {"mail": mail, "Message": Message, "User": User, "Post": Post, "outbox": outbox_api}
    interact(app, {"app": app, **names, "reading": reading, "writing": writing})


@microblog.group("mail")
def mail_group() -> None:
    """Test the mail settings."""


def _address(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    with suppress(ValueError):
        if parse_address.parse(value):
            return value
    raise click.ClickException(f"{value!r} is not a valid email address.")


@mail_group.command("test")
@click.argument("address", callback=_address)
@inside_app
async def mail_test(app: Quart, address: str) -> None:
    """Send a test mail to ADDRESS.

    Prints the settings used and the server's reply.
    """
    probe = await mail.probe(address)
    click.echo("\n".join(probe.sentences))
    if not probe.ok:
        raise click.exceptions.Exit(1)


for command in (user, outbox, courier, search, translate):
    microblog.add_command(command)


def main() -> None:
    """Run the command. Errors that an operator can fix are one line, without a traceback."""
    try:
        microblog()
    except DatabaseUnavailable as error:
        raise SystemExit(f"DATABASE_URL: {str(error).removeprefix('DATABASE_URL: ')}") from None
    except (SettingsError, NotMicroblog, migrations.NotCurrent, CommandError) as error:
        raise SystemExit(str(error)) from None
