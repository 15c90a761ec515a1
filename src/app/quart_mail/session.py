"""One open SMTP connection that takes one message after the other."""

from __future__ import annotations

from dataclasses import dataclass

from aiosmtplib import SMTPServerDisconnected

from .classify import refusal
from .dialogue import DONE, GO_ON, Client, Dialogue, Job, Progress
from .errors import RecipientsRefused, RefusedError, Smtputf8Error
from .reply import Reply
from .settings import MailState


@dataclass(frozen=True, slots=True)
class SendResult:
    """What came of a message that was sent to at least one recipient.

    ``code``, ``text``: the server's reply to the message; None and "" when sending is suppressed.
    ``refused``: the recipients that were refused, each with the server's reply.
    """

    code: int | None
    text: str
    refused: dict[str, Reply]


class Session(Dialogue):
    """An open, greeted and logged-in connection; made by ``opening.open_session``."""

    def __init__(self, state: MailState, client: Client, progress: Progress) -> None:
        super().__init__(state, client, progress)
        self.messages = 0
        self.greeting = ""
        self.mechanism: str | None = None
        self._begun = False  # the server may hold a begun transaction: RSET before the next one

    @property
    def is_open(self) -> bool:
        """Say whether the server has not hung up, as far as one can know."""
        return self.client.is_connected

    @property
    def is_spent(self) -> bool:
        """Say whether ``MAIL_MAX_EMAILS`` messages went over it."""
        return self.state.max_emails is not None and self.messages >= self.state.max_emails

    async def send(self, job: Job) -> SendResult:
        """Send one message; on any doubt about the connection's state close it.

        Raises MailError, or what ``job.before_data`` raises, unchanged.
        """
        self.progress = job.progress
        try:
            return await self._transaction(job)
        except (RefusedError, Smtputf8Error):
            raise
        except BaseException as error:
            if self.progress.stage != "before_data" or not isinstance(error, Exception):
                self.abort()
            raise

    async def _transaction(self, job: Job) -> SendResult:
        options = self._mail_options(job)
        if self._begun:
            await self.command("reset", b"RSET", timeout=job.timeout)
        self._begun = True
        sender = f"FROM:<{job.sender}>".encode()
        await self.command("mail", b"MAIL", sender, *options, timeout=job.timeout)
        self.messages += 1
        refused = await self._recipients(job)
        if job.before_data is not None:
            self.progress.stage = "before_data"
            await job.before_data()
        await self.command("data", b"DATA", timeout=job.timeout, wanted=GO_ON)
        response = await self.ask("dot", self._transfer(job.data), job.data_timeout)
        reply = self.received("dot", response)
        self._begun = False
        self.progress.in_doubt = False
        self.expect("dot", reply)
        return SendResult(reply.code, reply.text, refused)

    def _mail_options(self, job: Job) -> list[bytes]:
        options = list(job.mail_options)
        given = {option.partition("=")[0].upper() for option in options}
        if job.needs_utf8 and "SMTPUTF8" not in given:
            options.append("SMTPUTF8")
        if job.needs_utf8 and not self.client.supports_extension("smtputf8"):
            raise Smtputf8Error(
                "An address has letters outside ASCII before its @, and the mail server does not "
                "offer SMTPUTF8, which that needs.",
                stage="mail",
            )
        if self.client.supports_extension("size") and "SIZE" not in given:
            options.insert(0, f"SIZE={len(job.data)}")
        return [option.encode() for option in options]

    async def _recipients(self, job: Job) -> dict[str, Reply]:
        """Name the recipients; return the refused ones, or raise when none is left."""
        refused: dict[str, Reply] = {}
        options = [option.encode() for option in job.rcpt_options]
        for recipient in job.recipients:
            words = (b"RCPT", f"TO:<{recipient}>".encode(), *options)
            reply = await self.request("rcpt", *words, timeout=job.timeout)
            if reply.code // 100 == DONE:
                continue
            error = refusal("rcpt", reply)
            if not isinstance(error, RecipientsRefused):
                raise error
            refused[recipient] = reply
            if len(refused) == len(job.recipients):
                raise RecipientsRefused(error.text, code=reply.code, refused=refused)
        return refused

    async def _transfer(self, data: bytes) -> tuple[int, str]:
        """Write the message, dot-stuffed (RFC 5321 4.5.2), and return the reply to its end."""
        if self.client.protocol is None:
            raise SMTPServerDisconnected("Connection lost")
        stuffed = data.replace(b"\r\n.", b"\r\n..")
        end = b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n"
        self.client.protocol.write(stuffed + end)
        self.progress.in_doubt = True
        return await self.client.protocol.read_response(timeout=None)
