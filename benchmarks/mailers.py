"""Ways to send mails to a sink, from Flask-Mail to bare asyncio, and how they are timed.

A contestant is a function of the sink's port and a count; it returns when all mails have been sent. The mail
has a text and an HTML body, about as long as those of a reset mail.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import flask
import flask_mail
from quart import Quart

from app.quart_mail import Mail, Message
from benchmarks.sink import Sink

HOST = "127.0.0.1"
THREAD_PER_MAIL = "Flask-Mail, thread per mail"
Contestant = Callable[[int, int], None]

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
    """Return the arguments of both libraries' Message."""
    return {
        "subject": "[Microblog] Reset Your Password",
        "sender": SENDER,
        "recipients": [f"user{number}@example.com"],
        "body": TEXT,
        "html": HTML,
    }


def flask_app(port: int) -> tuple[flask.Flask, flask_mail.Mail]:
    """Return an app with Flask-Mail that sends to ``port``."""
    app = flask.Flask("x")
    app.config.update(MAIL_SERVER=HOST, MAIL_PORT=port, MAIL_DEFAULT_SENDER=SENDER)
    return app, flask_mail.Mail(app)


def flask_mail_thread_per_mail(port: int, count: int) -> None:
    """Send as the tutorials do: a thread and a connection for each mail."""
    app, mail = flask_app(port)

    def send(message: flask_mail.Message) -> None:
        with app.app_context():
            mail.send(message)

    threads = []
    with app.app_context():
        for number in range(count):
            message = flask_mail.Message(**arguments(number))
            threads.append(threading.Thread(target=send, args=(message,)))
            threads[-1].start()
    for thread in threads:
        thread.join()


def flask_mail_connect(port: int, count: int) -> None:
    """Send all over one connection, one after the other."""
    app, mail = flask_app(port)
    with app.app_context(), mail.connect() as connection:
        for number in range(count):
            connection.send(flask_mail.Message(**arguments(number)))


def aiosmtplib_each(port: int, count: int) -> None:
    """Open an aiosmtplib connection for each mail, four at once; the standard library builds the messages."""

    async def send(number: int, slots: asyncio.Semaphore) -> None:
        given = arguments(number)
        message = EmailMessage()
        message["Subject"], message["From"] = given["subject"], given["sender"]
        message["To"] = given["recipients"][0]
        message.set_content(given["body"])
        message.add_alternative(given["html"], subtype="html")
        async with slots:
            await aiosmtplib.send(
                message, hostname=HOST, port=port, start_tls=False, local_hostname="localhost"
            )

    async def run() -> None:
        slots = asyncio.Semaphore(4)
        await asyncio.gather(*(send(number, slots) for number in range(count)))

    asyncio.run(run())


def quart_mail(port: int, count: int, *, connections: int) -> None:
    """Send by quart_mail over its pool."""

    async def run() -> None:
        app = Quart("x")
        app.config.update(
            MAIL_SERVER=HOST, MAIL_PORT=port, MAIL_DEFAULT_SENDER=SENDER, MAIL_POOL_SIZE=connections
        )
        mail = Mail(app)
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await mail.send(Message(**arguments(number)))

        await asyncio.gather(*(work() for _ in range(connections)))
        await mail.close()

    asyncio.run(run())


def bare_protocol(port: int, count: int, *, connections: int) -> None:
    """Send the same prepared bytes by a minimal asyncio protocol: the upper limit."""
    data = Message(**arguments(0)).as_bytes()
    asyncio.run(send_bare(port, data, count, connections))


class Bare(asyncio.Protocol):
    """Sends the same bytes ``count`` times, waiting for each reply but checking none."""

    def __init__(self, data: bytes, count: int) -> None:
        self.steps = (
            b"MAIL FROM:<noreply@example.com>\r\n",
            b"RCPT TO:<user@example.com>\r\n",
            b"DATA\r\n",
            data + b".\r\n" if data.endswith(b"\r\n") else data + b"\r\n.\r\n",
        )
        self.left = count * len(self.steps)
        self.at = 0
        self.greeted = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Accept any reply and send the next line."""
        if not self.greeted:
            self.greeted = 1
            self.transport.write(b"HELO bare\r\n")
        elif self.left:
            self.transport.write(self.steps[self.at])
            self.at = (self.at + 1) % len(self.steps)
            self.left -= 1
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Report that everything was sent."""
        self.done.set_result(None)


async def send_bare(port: int, data: bytes, count: int, connections: int) -> None:
    """Send ``count`` messages over ``connections`` connections."""
    loop = asyncio.get_running_loop()
    share = count // connections
    waiting = []
    for _ in range(connections):
        _transport, protocol = await loop.create_connection(lambda: Bare(data, share), HOST, port)
        waiting.append(protocol.done)
    await asyncio.gather(*waiting)


@dataclass
class Result:
    """Rounds of one contestant; times in seconds."""

    name: str
    rates: list[float] = field(default_factory=list)  # messages a second
    cpu: list[float] = field(default_factory=list)  # seconds of this process for a message
    sink: list[float] = field(default_factory=list)  # seconds of the sink for a message

    @property
    def rate(self) -> float:
        """Return the median messages a second."""
        return statistics.median(self.rates)


def run(contestants: dict[str, Contestant], sink: Sink, count: int, rounds: int) -> list[Result]:
    """Let every contestant send ``count`` messages, ``rounds`` times in turn."""
    results = {name: Result(name) for name in contestants}
    for send in contestants.values():  # warm up imports, caches and the sink
        send(sink.port, 8)
    for _ in range(rounds):
        for name, send in contestants.items():
            before, sink_before = sink.usage()
            wall, cpu = time.perf_counter(), time.process_time()
            send(sink.port, count)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            after, sink_after = sink.usage()
            if after - before != count:
                raise SystemExit(f"{name}: {after - before} of {count} messages arrived")
            results[name].rates.append(count / wall)
            results[name].cpu.append(cpu / count)
            results[name].sink.append((sink_after - sink_before) / count)
    return list(results.values())


def microseconds(work: Callable[[], object], times: int = 1000) -> float:
    """Return the CPU time of one call."""
    work()
    begun = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begun) / times * 1e6
