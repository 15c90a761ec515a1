"""A password worker: a process that hashes what it reads from its socket, one line of JSON per hash.

`passwords` starts this file as a script, so that it imports Werkzeug and not the site (27 MB, not 85).

    python -P password_worker.py FD      FD: the number of the socket, which the process inherits

A request is `["check" or "generate", ...arguments]`, a reply `{"result": ...}` or `{"error": "..."}`. The
process ends when the other end of the socket is closed, which the system does for a site that is killed.
"""

import json
import signal
import socket
import sys
from collections.abc import Callable

from werkzeug.security import check_password_hash, generate_password_hash

FUNCTIONS: dict[str, Callable[..., str | bool]] = {
    "check": check_password_hash,
    "generate": generate_password_hash,
}


def main() -> None:
    """Serve the socket whose number is the first argument until its other end is closed."""
    # Service managers send SIGTERM to every process of the site; logins in progress still need this one.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection = socket.socket(fileno=int(sys.argv[1]))
    with connection, connection.makefile("rwb") as stream:
        for line in stream:
            stream.write(json.dumps(_reply(*json.loads(line))).encode() + b"\n")
            stream.flush()


def _reply(function: str, *arguments: str) -> dict[str, str | bool]:
    try:
        return {"result": FUNCTIONS[function](*arguments)}
    except (ValueError, TypeError) as error:  # a notation that Werkzeug does not know
        return {"error": str(error)}


if __name__ == "__main__":
    main()
