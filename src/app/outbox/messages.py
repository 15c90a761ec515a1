"""Ready-made messages in the database: their fields as JSON, which always serialize to the same bytes."""

import base64
import time
from typing import Any

from sqlalchemy import select

from app.database import Database, Unreadable
from app.outbox.claims import Claim
from app.outbox.models import LONGEST_ADDRESS, LONGEST_MESSAGE_ID, Content
from app.quart_mail import (
    Attachment,
    BadAddressError,
    BadHeaderError,
    Message,
    MessageError,
    NoRecipientsError,
)
from app.quart_mail.address import as_text, envelope

_PLAIN = ("subject", "sender", "date", "charset", "extra_headers", "mail_options", "rcpt_options")
_ADDRESSES = ("recipients", "cc", "bcc")


class UnreadableMail(ValueError):
    """What is stored of the mail cannot be decoded; the text says which part."""


def recipients(message: Message) -> list[str]:
    """Return the distinct bare addresses of the recipients of `message`; raises MessageError."""
    addresses = envelope(message.send_to)
    if not addresses:
        raise NoRecipientsError("No recipients have been added.")
    for address in addresses:
        if len(address) > LONGEST_ADDRESS:
            raise BadAddressError(f"{address!r} has more than {LONGEST_ADDRESS} characters.")
    return addresses


def pack(message: Message) -> dict[str, Any]:
    """Return `message` as JSON; raises MessageError if it could never be sent."""
    if message.date is None:
        message.date = time.time()
    if message.has_bad_headers():
        raise BadHeaderError
    if len(message.msgId) > LONGEST_MESSAGE_ID:
        raise MessageError(f"The Message-ID has more than {LONGEST_MESSAGE_ID} characters.")
    message.as_bytes()
    return {
        **{name: getattr(message, name) for name in _PLAIN},
        **{name: [as_text(one) for one in getattr(message, name)] for name in _ADDRESSES},
        "subject": str(message.subject or ""),
        "reply_to": [as_text(one) for one in message.reply_to_list],
        "body": _text(message.body),
        "alts": {kind: _text(text) for kind, text in message.alts.items()},
        "msg_id": message.msgId,
        "boundary": message.boundary,
        "attachments": [_pack_attachment(attachment) for attachment in message.attachments],
    }


def unpack(packed: dict[str, Any], recipient: str) -> Message:
    """Return a packed message, addressed to `recipient` alone."""
    fields = dict(packed)
    boundary = fields.pop("boundary")
    attachments = [_unpack_attachment(attachment) for attachment in fields.pop("attachments")]
    message = Message(**fields, attachments=attachments)
    message.boundary = boundary
    message.envelope_to = recipient
    return message


async def load(database: Database, claim: Claim) -> Message | None:
    """Return the message of a claimed row; raises LookupError when its content is gone, or UnreadableMail.

    Returns None if the recipient has deleted the account meanwhile (see `transitions.withdraw`).
    """
    if claim.recipient is None:
        return None
    async with database.reading() as connection:
        packed = await connection.scalar(select(Content.message).where(Content.id == claim.content_id))
    if packed is None:
        raise LookupError(f"mail {claim.id} has no content")
    if isinstance(packed, Unreadable):
        raise UnreadableMail("The stored message cannot be read.")
    return unpack(packed, claim.recipient)


def _text(text: Any) -> str | None:
    if text is None:
        return None
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _pack_attachment(attachment: Attachment) -> dict[str, Any]:
    data = attachment.data
    return {
        "filename": attachment.filename,
        "content_type": attachment.content_type,
        "data": base64.b64encode(data.encode("utf-8", "replace") if isinstance(data, str) else data).decode(),
        "disposition": attachment.disposition,
        "headers": attachment.headers,
    }


def _unpack_attachment(packed: dict[str, Any]) -> Attachment:
    return Attachment(**{**packed, "data": base64.b64decode(packed["data"])})
