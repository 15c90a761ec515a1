"""The Message class.

Parts are nested as in Flask-Mail, without a needless outer part:

    text                                  text/plain
    text, html                            alternative(text, html, ...)
    html with inline images               alternative(text, related(html, image, ...))
    any of these with attachments         mixed(the above, attachment, ...)
"""

import secrets
import time
from collections.abc import Iterable, KeysView
from email.charset import Charset
from email.utils import formatdate
from typing import Any, TypeVar

from quart import current_app, has_app_context

from .address import Address, as_text, domain_of
from .headers import address_field, clean, is_bad_field, is_bad_line, is_bad_text, text_field
from .headers import charset as find_charset
from .mime import Attachment, multipart, text_part
from .settings import MailSettings

_T = TypeVar("_T")
# The first three describe the body as it is rendered here; Bcc must not be sent.
_RESERVED_FIELDS = frozenset(
    {"content-type", "content-transfer-encoding", "mime-version", "bcc", "resent-bcc"}
)


class Message:
    """A mail message, with Flask-Mail's arguments in Flask-Mail's order.

    ``recipients``, ``cc``, ``bcc``: lists of addresses, each text or a (name, address) pair.
    ``alts``: more alternatives of the body, by text subtype ("calendar") or full content type.
    ``sender``: an address; ``MAIL_DEFAULT_SENDER`` by default. ``reply_to``: an address or a list.
    ``date``: seconds since the epoch; the time of sending by default. ``charset``: "utf-8" by default.
    ``extra_headers``: they replace generated headers of the same name; None removes one.
    ``mail_options``, ``rcpt_options``: ESMTP parameters of MAIL FROM and RCPT TO.
    ``msg_id``: a Message-ID with its angle brackets; generated once by default.
    """

    def __init__(
        self,
        subject: str = "",
        recipients: Iterable[Address] | None = None,
        body: str | None = None,
        html: str | None = None,
        alts: dict[str, str] | Iterable[tuple[str, str]] | None = None,
        sender: Address | None = None,
        cc: Iterable[Address] | None = None,
        bcc: Iterable[Address] | None = None,
        attachments: Iterable[Attachment] | None = None,
        reply_to: Address | list[Address] | None = None,
        date: float | None = None,
        charset: str | None = None,
        extra_headers: dict[str, str] | None = None,
        mail_options: Iterable[str] | None = None,
        rcpt_options: Iterable[str] | None = None,
        *,
        msg_id: str | None = None,
    ) -> None:
        state = _current_state()
        sender = sender or (state.default_sender if state else None)
        self.subject = subject
        self.recipients: list[Address] = _as_list(recipients)
        self.body = body
        self.alts: dict[str, str] = dict(alts or {})
        if html is not None:
            self.alts["html"] = html
        self.sender: Address | None = as_text(sender) if sender else None
        self.cc: list[Address] = _as_list(cc)
        self.bcc: list[Address] = _as_list(bcc)
        self.attachments: list[Attachment] = list(attachments or [])
        self.reply_to = reply_to
        self.date = date
        self.charset = charset
        self.extra_headers = extra_headers
        self.mail_options: list[str] = _as_list(mail_options)
        self.rcpt_options: list[str] = _as_list(rcpt_options)
        self.boundary = f"=_{secrets.token_hex(12)}"
        self.envelope_to: Address | None = None
        """If set, this copy is sent to this address alone; its headers name all recipients."""
        self._msg_id = msg_id

    @property
    def html(self) -> str | None:
        """The HTML alternative, or None."""
        return self.alts.get("html")

    @html.setter
    def html(self, value: str | None) -> None:
        if value is None:
            self.alts.pop("html", None)
        else:
            self.alts["html"] = value

    @property
    def msgId(self) -> str:  # noqa: N802 - Flask-Mail's name
        """The Message-ID, generated at first use and then kept (RFC 5322 3.6.4)."""
        if self._msg_id is None:
            self._msg_id = self._new_id(_current_state())
        return self._msg_id

    @msgId.setter
    def msgId(self, value: str) -> None:  # noqa: N802
        self._msg_id = value

    def _new_id(self, state: MailSettings | None) -> str:
        domain = (state.message_id_domain if state else None) or domain_of(self.sender)
        return f"<{time.time_ns():x}.{secrets.token_hex(10)}@{domain or 'localhost'}>"

    @property
    def send_to(self) -> KeysView[Address]:
        """All recipients, cc and bcc as given, or ``envelope_to``: a set that keeps their order."""
        if self.envelope_to is not None:
            return dict.fromkeys((self.envelope_to,)).keys()
        return dict.fromkeys((*self.recipients, *self.cc, *self.bcc)).keys()

    @property
    def reply_to_list(self) -> list[Address]:
        """The Reply-To addresses as a list."""
        if not self.reply_to:
            return []
        return list(self.reply_to) if isinstance(self.reply_to, list) else [self.reply_to]

    def add_recipient(self, recipient: Address) -> None:
        """Add a recipient."""
        self.recipients.append(recipient)

    def attach(
        self,
        filename: str | None = None,
        content_type: str | None = None,
        data: str | bytes | None = None,
        disposition: str | None = None,
        headers: dict[str, str] | None = None,
        *,
        content_id: str | None = None,
    ) -> None:
        """Attach a file; the arguments are those of Attachment."""
        self.attachments.append(
            Attachment(filename, content_type, data, disposition, headers, content_id=content_id)
        )

    def has_bad_headers(self) -> bool:
        """Return whether a header has a control character or a line break, other than folding."""
        addresses = [self.sender, *self.reply_to_list, *self.recipients, *self.cc, *self.bcc]
        return (
            any(is_bad_line(as_text(address)) for address in addresses if address)
            or bool(self.subject and is_bad_text(str(self.subject)))
            or is_bad_line(self.msgId)
            or any(map(is_bad_line, (*self.alts, *self.mail_options, *self.rcpt_options)))
            or any(is_bad_field(k, str(v)) for k, v in (self.extra_headers or {}).items() if v)
            or any(attachment.has_bad_headers() for attachment in self.attachments)
        )

    def prepare(self, state: MailSettings) -> None:
        """Fill in the default sender, the date and the Message-ID before sending."""
        if not self.sender and state.default_sender:
            self.sender = as_text(state.default_sender)
        if self._msg_id is None:
            self._msg_id = self._new_id(state)
        if self.date is None:
            self.date = time.time()

    async def send(self, connection: Any) -> Any:
        """Send this message over a Connection (or a Mail); return its SendResult."""
        return await connection.send(self)

    def as_bytes(self) -> bytes:
        """Return the message as it is sent (CRLF lines, before dot-stuffing)."""
        state = _current_state()
        return self.render(ascii_attachments=bool(state and state.ascii_attachments))

    def as_string(self) -> str:
        """Return the message as text."""
        return self.as_bytes().decode("utf-8")

    def __bytes__(self) -> bytes:
        return self.as_bytes()

    def __str__(self) -> str:
        return self.as_string()

    def render(self, *, ascii_attachments: bool = False) -> bytes:
        """Return the message as 7-bit CRLF lines of at most 998 bytes, not dot-stuffed.

        Only addresses that need SMTPUTF8 put UTF-8 into header fields. Raises MessageError.
        """
        codec = find_charset(self.charset)
        fields = self._fields(codec)
        for name, value in (self.extra_headers or {}).items():
            key = name.lower()
            if key in _RESERVED_FIELDS:
                continue
            fields.pop(key, None)
            if value is not None and not is_bad_field(name, ""):
                fields[key] = text_field(name, str(value), codec)
        head = "\r\n".join((*fields.values(), "MIME-Version: 1.0\r\n")).encode("utf-8", "replace")
        return head + self._render_body(codec, ascii_attachments)

    def _fields(self, codec: Charset) -> dict[str, str]:
        """Return the header fields, without ``extra_headers``, by their names in lower case."""
        fields: dict[str, str] = {}
        if self.subject:
            fields["subject"] = text_field("Subject", str(self.subject), codec)
        if self.sender:
            fields["from"] = address_field("From", [self.sender], codec)
        if self.recipients:
            fields["to"] = address_field("To", self.recipients, codec)
        elif not self.cc:
            fields["to"] = "To: undisclosed-recipients:;"
        fields["date"] = f"Date: {formatdate(self.date, localtime=True)}"
        fields["message-id"] = f"Message-ID: {clean(self.msgId)}"
        if self.cc:
            fields["cc"] = address_field("Cc", self.cc, codec)
        if self.reply_to_list:
            fields["reply-to"] = address_field("Reply-To", self.reply_to_list, codec)
        fields["auto-submitted"] = "Auto-Submitted: auto-generated"
        return fields

    def _render_body(self, codec: Charset, ascii_attachments: bool) -> bytes:
        def with_files(part: bytes, kind: str, files: list[Attachment]) -> bytes:
            parts = [part, *(file.part(ascii_filename=ascii_attachments) for file in files)]
            return multipart(kind, f"{self.boundary}_{kind[0]}", parts) if files else part

        inline = [file for file in self.attachments if file.is_inline and "html" in self.alts]
        others = [file for file in self.attachments if file not in inline]
        body = text_part(self.body, "text/plain", codec)
        if self.alts:
            texts = [body]
            for kind, content in self.alts.items():
                part = text_part(content, kind if "/" in kind else f"text/{kind}", codec)
                texts.append(with_files(part, "related", inline) if kind == "html" else part)
            body = multipart("alternative", f"{self.boundary}_a", texts)
        return with_files(body, "mixed", others)


def _as_list(given: Iterable[_T] | None) -> list[Any]:
    """Return a list; a single string becomes one entry, and a pair given as a list a tuple."""
    if isinstance(given, str):
        return [given]
    return [tuple(item) if isinstance(item, list) else item for item in given or ()]


def _current_state() -> MailSettings | None:
    if not has_app_context():
        return None
    state: MailSettings | None = current_app.extensions.get("mail")
    return state
