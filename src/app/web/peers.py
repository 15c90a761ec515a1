"""Who asks: this machine, or somebody else."""

from __future__ import annotations

from ipaddress import ip_address

from quart import request

FORWARDED = ("X-Forwarded-For", "Forwarded")


def is_this_machine() -> bool:
    """Return whether the peer is this machine, and no proxy here speaks for somebody else."""
    try:
        is_local = ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        is_local = False
    return is_local and not any(header in request.headers for header in FORWARDED)
