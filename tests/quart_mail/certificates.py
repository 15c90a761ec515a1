"""A test certificate authority, and certificates with one fault each."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

NAME = "localhost"


class Authority:
    """A trustme CA with its certificate in a file, and server contexts signed by it."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.file)
        self.folder = folder

    def server(self, kind: str = "good") -> ssl.SSLContext:
        """A server's context: "good", "expired", "wrong name", "unknown CA" or "self-signed"."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if kind == "self-signed":
            self._self_signed(context)
            return context
        issuer = trustme.CA() if kind == "unknown CA" else self.ca
        past = datetime.now(UTC) - timedelta(days=2)
        certificate = issuer.issue_cert(
            "other.example.com" if kind == "wrong name" else NAME,
            not_after=past if kind == "expired" else None,
            not_before=past - timedelta(days=1) if kind == "expired" else None,
        )
        certificate.configure_cert(context)
        return context

    def _self_signed(self, context: ssl.SSLContext) -> None:
        alone = trustme.CA()
        chain = self.folder / "alone.pem"
        chain.write_bytes(alone.private_key_pem.bytes() + alone.cert_pem.bytes())
        context.load_cert_chain(chain)

    def client_files(self) -> tuple[str, str]:
        """A client's certificate and key, as files."""
        issued = self.ca.issue_cert("client.example.com")
        key, chain = self.folder / "client.key", self.folder / "client.pem"
        issued.private_key_pem.write_to_path(key)
        issued.cert_chain_pems[0].write_to_path(chain)
        return str(chain), str(key)
