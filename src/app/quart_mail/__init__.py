"""Asynchronous mail for Quart: Flask-Mail 0.10 with ``await``.

    mail = Mail(app)                                  # or Mail(); mail.init_app(app)
    result = await mail.send(Message("Hello", recipients=["ann@example.com"], body="Hi!"))

``Mail.send``, ``SendResult`` and ``MailError`` say what a queue needs to know. A Message keeps its
``msgId`` when it is sent again. No threads are started, except asyncio's resolver if the server is a
host name other than localhost.
"""

from .address import Address as Address
from .errors import BadAddressError as BadAddressError
from .errors import BadHeaderError as BadHeaderError
from .errors import BrokenError as BrokenError
from .errors import CertificateError as CertificateError
from .errors import CleartextLoginError as CleartextLoginError
from .errors import ConfigurationError as ConfigurationError
from .errors import ConnectError as ConnectError
from .errors import ConnectionLost as ConnectionLost
from .errors import DataRefused as DataRefused
from .errors import DeadlineExceeded as DeadlineExceeded
from .errors import GreetingRefused as GreetingRefused
from .errors import LoginError as LoginError
from .errors import MailError as MailError
from .errors import MessageError as MessageError
from .errors import NonsenseReply as NonsenseReply
from .errors import NoRecipientsError as NoRecipientsError
from .errors import NoSenderError as NoSenderError
from .errors import RecipientsRefused as RecipientsRefused
from .errors import RefusedError as RefusedError
from .errors import Reply as Reply
from .errors import ReplyTimeout as ReplyTimeout
from .errors import SenderRefused as SenderRefused
from .errors import ServerError as ServerError
from .errors import ServiceUnavailable as ServiceUnavailable
from .errors import Smtputf8Error as Smtputf8Error
from .errors import TlsError as TlsError
from .errors import TlsNotOffered as TlsNotOffered
from .errors import UnknownHost as UnknownHost
from .headers import force_text as force_text
from .headers import sanitize_address as sanitize_address
from .headers import sanitize_addresses as sanitize_addresses
from .headers import sanitize_subject as sanitize_subject
from .mail import Connection as Connection
from .mail import Mail as Mail
from .mail import email_dispatched as email_dispatched
from .mail import signals as signals
from .message import Message as Message
from .mime import Attachment as Attachment
from .probe import Probe as Probe
from .session import Pool as Pool
from .session import SendResult as SendResult
from .settings import MailSettings as MailSettings
