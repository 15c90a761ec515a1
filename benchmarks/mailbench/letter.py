"""The mail that is sent: a text and an HTML body, about as long as a reset mail."""

from __future__ import annotations

from typing import Any

SENDER = "Microblog <noreply@example.com>"
TEXT = (
    "Dear susan,\n\nto reset your password open this link:\n\n"
    + "https://example.com/"
    + ("reset_password/eyJhbGciOiJIUzI1NiJ9." + "x" * 120)
)
TEXT += "\n\nIt works once and for ten minutes.\n\nSincerely,\n\nThe Microblog Team\n"
HTML = "<!doctype html><html><body>" + "".join(
    f"<p style='margin:0 0 16px'>{line}</p>\n" for line in TEXT.split("\n") if line
)
HTML += "</body></html>"


def arguments(number: int) -> dict[str, Any]:
    """Return what both libraries' Message takes."""
    return {
        "subject": "[Microblog] Reset Your Password",
        "sender": SENDER,
        "recipients": [f"user{number}@example.com"],
        "body": TEXT,
        "html": HTML,
    }
