"""Ways to send ``count`` mails to the sink at ``port``; each returns when all have arrived."""

from __future__ import annotations

import asyncio
import threading
from email.message import EmailMessage

import aiosmtplib
import flask
import flask_mail
from quart import Quart

from app.quart_mail import Mail, Message

from . import bare
from .letter import SENDER, arguments

HOST = "127.0.0.1"


def flask_app(port: int) -> tuple[flask.Flask, flask_mail.Mail]:
    """Return an app with Flask-Mail that sends to ``port``."""
    app = flask.Flask("x")
    app.config.update(MAIL_SERVER=HOST, MAIL_PORT=port, MAIL_DEFAULT_SENDER=SENDER)
    return app, flask_mail.Mail(app)


def flask_mail_thread_per_mail(port: int, count: int) -> None:
    """Do as the tutorials do: a thread and a connection for each mail."""
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
    """Open a new aiosmtplib connection for each mail, four at once; messages by the stdlib."""

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
            MAIL_SERVER=HOST,
            MAIL_PORT=port,
            MAIL_DEFAULT_SENDER=SENDER,
            MAIL_POOL_SIZE=connections,
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
    """Send the same bytes, made beforehand, by the barest asyncio protocol: the limit."""
    data = Message(**arguments(0)).as_bytes()
    asyncio.run(bare.send_all(HOST, port, data, count, connections))
