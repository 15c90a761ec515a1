"""Security headers on every answer, errors and static files included (OWASP Secure Headers Project)."""

from __future__ import annotations

from quart import Quart, Response

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' https://www.gravatar.com",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "frame-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
ONE_YEAR_HTTPS = "max-age=31536000; includeSubDomains"


def headers_for(app: Quart) -> dict[str, str]:
    """Return the headers of every answer of `app`."""
    if app.config["BASE_URL"].startswith("https://"):
        return {**HEADERS, "Strict-Transport-Security": ONE_YEAR_HTTPS}
    return dict(HEADERS)


def init_app(app: Quart) -> None:
    """Set the headers where a view has not set its own."""
    headers = headers_for(app)

    @app.after_request
    async def set_headers(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response
