"""What all mails of the site share: `Email`, the base class of each of them, and `render`.

A mail is a dataclass in the feature that owns it. Its fields are its parameters, its class attributes say how
it is delivered, and `render` makes the message:

    @dataclass(frozen=True, slots=True)
    class PasswordChanged(Email):
        kind = "password_changed"                    # its texts: templates/email/password_changed.*
        subject = lazy_gettext("Your password was changed")
        user_id: int

        async def render(self, request): ...

    mailer.register(app, PasswordChanged)
    await PasswordChanged(user.id).post(session)     # delivered after the commit

Only the parameters are stored. The outbox calls `render` when it delivers, and again for each retry, so that
no token is ever stored.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

from quart import Quart, current_app
from sqlalchemy.ext.asyncio import AsyncSession

from app import outbox
from app.outbox import Handle, Kind, MailRequest, Postponed, Priority, Rendered
from app.quart_mail import Message
from app.web import languages


@dataclass(frozen=True, slots=True)
class Email:
    """A kind of mail; the fields of a subclass are its parameters, which must be JSON values.

    `kind` names it in the outbox and must not change. A field added later needs a default, because rows of
    older versions may still be waiting. `secret`: the parameters are not shown to operators. `transient`:
    they are erased when the mail is done, even if it failed. `is_digest`: it is merged with a waiting mail
    that has the same unique key (`merge`). `link_seconds`: how long its link is valid, in seconds or as the
    name of a setting; the mail is not sent in the last OUTBOX_EXPIRY_MARGIN of that time. `delay`: the
    setting with the longest random time in seconds before the mail becomes due.
    """

    kind: ClassVar[str]
    subject: ClassVar[str] = ""
    priority: ClassVar[Priority] = Priority.NORMAL
    secret: ClassVar[bool] = False
    transient: ClassVar[bool] = False
    is_digest: ClassVar[bool] = False
    link_seconds: ClassVar[float | str | None] = None
    delay: ClassVar[str | None] = None

    @classmethod
    def expiry(cls, config: Mapping[str, Any]) -> float | None:
        """Return after how many seconds the mail is no longer sent; None for OUTBOX_EXPIRY."""
        if cls.link_seconds is None:
            return None
        seconds = config[cls.link_seconds] if isinstance(cls.link_seconds, str) else cls.link_seconds
        return max(float(seconds) - float(config["OUTBOX_EXPIRY_MARGIN"]), 1.0)

    def unique_key(self) -> str | None:
        """Return a key that only one waiting mail may have; posting again renews or merges that mail."""
        return None

    def merge(self, newer: Self) -> Self:
        """Return one mail for this one, which is waiting, and a newer one."""
        raise NotImplementedError

    async def render(self, request: MailRequest) -> Message | Rendered | Postponed | None:
        """Return the message, None when there is nothing to send, or until when to wait."""
        raise NotImplementedError

    async def message(self, to: str, **context: Any) -> Message:
        """Return the message to `to`, from the templates `email/KIND`."""
        return await render(to, self.subject, f"email/{self.kind}", **context)

    async def post(self, session: AsyncSession) -> Handle:
        """Store the mail in the transaction of `session`; it is delivered after the commit.

        The language of this request is stored with it, for a recipient whose own language is not known.
        """
        params = asdict(self) | {"language": languages.current().code}
        return await outbox.post(session, self.kind, unique=self.unique_key(), **params)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Return the mail with stored parameters; unknown ones, from a newer version, are ignored."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in params.items() if name in names})

    @classmethod
    async def render_stored(cls, request: MailRequest) -> Message | Rendered | Postponed | None:
        """Render the mail from its stored parameters, in the language stored with them."""
        with languages.speaking(languages.of(request.params.get("language"))):
            return await cls.from_params(request.params).render(request)

    @classmethod
    def merge_stored(cls, waiting: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
        """Merge the stored parameters of two mails."""
        return waiting | asdict(cls.from_params(waiting).merge(cls.from_params(newer)))


def register(app: Quart, *emails: type[Email]) -> None:
    """Let the outbox of `app` accept and render `emails`."""
    for email in emails:
        kind = Kind(
            email.kind,
            email.render_stored,
            priority=email.priority,
            expiry=email.expiry(app.config),
            secret=email.secret,
            transient=email.transient,
            merge=email.merge_stored if email.is_digest else None,
            delay=app.config[email.delay] if email.delay else 0.0,
        )
        outbox.register(app, kind)


async def render(to: str, subject: str, template: str, **context: Any) -> Message:
    """Return the message to `to`, with MAIL_SUBJECT_PREFIX, from `template + ".txt"` and `".html"`.

    It is in the current language: that of this request or, in `Email.render`, what it has passed to
    `languages.use`.
    """
    prefix, jinja = current_app.config["MAIL_SUBJECT_PREFIX"], current_app.jinja_env
    context["config"] = current_app.config
    return Message(
        f"{prefix} {subject}" if prefix else str(subject),
        recipients=[to],
        body=await jinja.get_template(f"{template}.txt").render_async(context),
        html=await jinja.get_template(f"{template}.html").render_async(context),
    )


def site_url(path: str) -> str:
    """Return the absolute URL of a path of this site, which begins with BASE_URL."""
    return f"{current_app.config['BASE_URL']}{path}"
