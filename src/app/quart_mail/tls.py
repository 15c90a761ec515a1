"""The TLS context, and readable errors for failed handshakes."""

from __future__ import annotations

import ssl

from .errors import CertificateError, ConfigurationError, TlsError

# X509_V_ERR_* of OpenSSL, as ssl.SSLCertVerificationError.verify_code
_EXPIRED = 10
_NOT_YET_VALID = 9
_SELF_SIGNED = frozenset({18, 19})
_UNKNOWN_ISSUER = frozenset({2, 20, 21})
_WRONG_NAME = frozenset({62, 63, 64})


def build_context(
    *, validate: bool, ca_file: str | None, client_cert: str | None, client_key: str | None
) -> ssl.SSLContext:
    """Return a client context that checks certificates unless ``validate`` is false.

    With ``ca_file``, only the authorities in that file are trusted, otherwise the system's. Raises
    ConfigurationError if a file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigurationError(
            f"MAIL_CA_FILE: {ca_file!r} is not accepted; give a readable file of certificates "
            f"in PEM ({error.strerror or error})."
        ) from error
    if not validate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client_cert:
        _load_client_cert(context, client_cert, client_key)
    return context


def _load_client_cert(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    """Load the client's own certificate; raises ConfigurationError."""
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:
        with_key = f" with MAIL_CLIENT_KEY {key!r}" if key else ""
        raise ConfigurationError(
            f"MAIL_CLIENT_CERT: {cert!r} is not accepted{with_key}; give readable files "
            f"in PEM that belong together ({error.strerror or error})."
        ) from error


def handshake_error(error: ssl.SSLError, server: str, stage: str) -> TlsError:
    """Return a TlsError that says why the handshake with ``server`` failed."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        reason = error.reason or type(error).__name__
        hint = ""
        if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
            hint = " The port may expect STARTTLS (MAIL_USE_TLS instead of MAIL_USE_SSL)."
        return TlsError(f"The TLS handshake with {server} failed: {reason}.{hint}", stage=stage)
    return CertificateError(
        f"The certificate of {server} {_problem(error)} (MAIL_VALIDATE_CERTS is on).", stage=stage
    )


def _problem(error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    if code == _EXPIRED:
        return "has expired"
    if code == _NOT_YET_VALID:
        return "is not valid yet"
    if code in _SELF_SIGNED:
        return "is self-signed, or signed by an authority that is not in MAIL_CA_FILE"
    if code in _UNKNOWN_ISSUER:
        return "was issued by an authority that is not trusted (see MAIL_CA_FILE)"
    if code in _WRONG_NAME:
        return f"is for a different name: {error.verify_message}"
    return f"is not valid: {error.verify_message}"
