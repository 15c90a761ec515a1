"""Count the files and functions of `src/app` that one reset mail passes through.

    python -m benchmarks.trace [--list] [--base DIR]

A site on SQLite is served in this process, with its courier, and an account asks for a reset link. Counted is
every Python function below src/app that any thread enters between the POST and the moment the mail's row is
stored as sent; comprehensions and templates do not count. `--list` prints the names; `--base` also measures
the checkout in DIR, with its own DIR/.venv/bin/python.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from types import CodeType, FrameType

import app as package
from tests.smtp_server import SmtpServer

ROOT = Path(package.__file__).parent
MAX_FILES, MAX_FUNCTIONS = 45, 240
TIMEOUT_SECONDS = 20
HOST = {"Host": "localhost"}


class Recorder:
    """Collects the functions of the site that are entered while `is_on`."""

    def __init__(self) -> None:
        self.is_on = False
        self.code: set[CodeType] = set()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Take a profiler event."""
        if self.is_on and event == "call":
            self.code.add(frame.f_code)

    def functions(self) -> dict[str, set[str]]:
        """Return the names of the functions by file, relative to src/app."""
        found: dict[str, set[str]] = defaultdict(set)
        for code in self.code:
            path = Path(code.co_filename)
            comprehension = code.co_name in {"<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>"}
            if path.is_relative_to(ROOT) and path.suffix == ".py" and not comprehension:
                found[str(path.relative_to(ROOT))].add(f"{code.co_qualname}:{code.co_firstlineno}")
        return dict(sorted(found.items()))


async def send_reset(folder: Path, recorder: Recorder) -> None:
    """Serve a site with one account, ask for a reset link, and record until its mail is settled."""
    file = folder / "microblog.db"
    async with SmtpServer() as server:
        site = package.create_app(
            {
                "TESTING": True,
                "MAIL_SUPPRESS_SEND": False,
                "DATABASE_URL": f"sqlite:///{file}",
                "MAIL_SERVER": "127.0.0.1",
                "MAIL_PORT": server.port,
                "MAIL_COURIER": "loop",
                "MAIL_DEFAULT_SENDER": "noreply@example.com",
            }
        )
        with sqlite3.connect(file) as connection:
            connection.execute(
                "INSERT INTO user (username, email, username_canonical, email_canonical)"
                " VALUES ('susan', 'susan@example.com', 'susan', 'susan@example.com')"
            )
        async with site.test_app():
            client = site.test_client()
            form = await (await client.get("/reset_password_request")).get_data(as_text=True)
            token = re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', form)[-1]
            fields = {"email": "susan@example.com", "csrf_token": token}
            recorder.is_on = True
            response = await client.post("/reset_password_request", form=fields)
            assert response.status_code == 302, await response.get_data(as_text=True)
            await server.until(lambda: server.accepted == 1)
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while connection.execute("SELECT state FROM outbox").fetchall() != [("sent",)]:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            recorder.is_on = False
        connection.close()


def trace(list_names: bool) -> bool:
    """Print the numbers of this checkout; return whether they are within the limits."""
    recorder = Recorder()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "microblog.db"
        subprocess.run(
            [Path(sys.executable).with_name("microblog"), "db", "upgrade"],
            env=os.environ | {"DEBUG": "1", "DATABASE_URL": f"sqlite:///{file}"},
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        threading.setprofile(recorder)
        sys.setprofile(recorder)
        asyncio.run(send_reset(Path(folder), recorder))
        sys.setprofile(None)
        threading.setprofile(None)
    functions = recorder.functions()
    count = sum(map(len, functions.values()))
    print(
        f"{ROOT}: {len(functions)} files (at most {MAX_FILES}), {count} functions (at most {MAX_FUNCTIONS})"
    )
    if list_names:
        for path, names in functions.items():
            print(f"{path} ({len(names)}): {', '.join(sorted(names))}")
    return len(functions) <= MAX_FILES and count <= MAX_FUNCTIONS


def main() -> None:
    """Read the arguments and trace."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--base", type=Path, metavar="DIR", help="another checkout to compare with")
    arguments = parser.parse_args()
    if arguments.base:
        python = arguments.base / ".venv" / "bin" / "python"
        subprocess.run([python, "-m", "benchmarks.trace"], check=False)
    raise SystemExit(not trace(arguments.list))


if __name__ == "__main__":
    main()
