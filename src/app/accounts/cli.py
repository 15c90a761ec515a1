"""The command `microblog user`: create and list accounts."""

import click
from email_validator import EmailNotValidError, validate_email
from quart import Quart
from sqlalchemy import select
from werkzeug.datastructures import MultiDict

from app.accounts import service
from app.accounts.forms import RegistrationForm
from app.accounts.models import User
from app.cli.context import inside_app
from app.database import reading
from app.quart_mail.errors import printable
from app.web import languages


@click.group()
def user() -> None:
    """Create and list accounts."""


def _address(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Refuse an invalid address before prompting for the password."""
    try:
        validate_email(value.strip(), check_deliverability=False)
    except EmailNotValidError:
        raise click.ClickException("email: Invalid email address.") from None
    return value


@user.command()
@click.argument("username")
@click.argument("email", callback=_address)
@click.password_option(help="Prompted for if not given.")
@inside_app
async def create(app: Quart, username: str, email: str, password: str) -> None:
    """Create an account called USERNAME with the address EMAIL."""
    fields = {"username": username, "email": email, "password": password, "password2": password}
    form = RegistrationForm(MultiDict(fields), meta={"csrf": False})
    form.username.allows_reserved = True
    with languages.speaking(languages.find("en")):
        if not form.validate():
            raise click.ClickException(
                " ".join(f"{name}: {error}" for name, errors in form.errors.items() for error in errors)
            )
    try:
        await service.register(username=form.username.data, email=form.email.data, password=password)
    except service.Taken as error:
        raise click.ClickException(
            f"Another account has this {' and this '.join(sorted(error.fields))}."
        ) from None
    click.echo(f"Created the account {form.username.data}.")


@user.command("list")
@inside_app
async def list_users(app: Quart) -> None:
    """List every account: id, name, address, last seen."""
    async with reading() as connection:
        rows = await connection.execute(
            select(User.id, User.username, User.email, User.last_seen).order_by(User.id)
        )
        for row in rows:
            seen = f"{row.last_seen:%Y-%m-%d %H:%M}" if row.last_seen else "never"
            click.echo(f"{row.id}\t{printable(row.username)}\t{printable(row.email)}\t{seen}")
