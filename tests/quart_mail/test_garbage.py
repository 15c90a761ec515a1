"""Whatever a server says, sending gives a result or a MailError, and leaves nothing open."""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.quart_mail import Mail, MailError, Message, SendResult
from tests.smtp_server import SmtpServer

from .conftest import make_app

STAGES = ["greeting", "ehlo", "helo", "auth", "mail", "rcpt", "data", "dot", "rset"]
CODES = st.sampled_from(
    ["220", "235", "250", "251", "334", "354", "421", "450", "550", "999", "-25"]
)
LINE = st.builds(
    lambda code, mark, text: code + mark + text, CODES, st.sampled_from(" -"), st.text(max_size=20)
)
ANSWER = LINE | st.text(max_size=40) | st.lists(LINE, max_size=4).map("\r\n".join) | st.just("drop")
OFFERS = st.sampled_from(["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "PLAIN CRAM-MD5", ""])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=st.dictionaries(st.sampled_from(STAGES), ANSWER, max_size=2), offers=OFFERS)
def test_any_answers_end_in_a_result_or_a_mail_error(script: dict[str, str], offers: str) -> None:
    asyncio.run(send_twice({"ehlo": f"250-x\r\n250 AUTH {offers}", **script}))


async def send_twice(script: dict[str, str]) -> None:
    login = {"MAIL_USERNAME": "me", "MAIL_PASSWORD": "secret"}
    times = {"MAIL_TIMEOUT": 0.05, "MAIL_DATA_TIMEOUT": 0.05}
    async with SmtpServer(dict(script)) as server:
        mail = Mail(make_app(MAIL_PORT=server.port, **login, **times))
        for _ in range(2):
            outcome = await one_sending(mail)
            if isinstance(outcome, SendResult):
                assert outcome.code is not None
                assert outcome.code // 100 == 2
            else:
                assert outcome.text.isprintable()
                assert "secret" not in outcome.text
        await mail.close()
        assert mail.pool.in_use == mail.pool.idle == 0


async def one_sending(mail: Mail) -> SendResult | MailError:
    try:
        return await mail.send(Message("s", ["to@example.com"], "b"))
    except MailError as error:
        return error
