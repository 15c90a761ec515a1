"""The carrier: what is done with one claim, from composing its message to settling it."""

from __future__ import annotations

import asyncio
import logging
import random

from sqlalchemy.exc import DBAPIError

from app.database import DatabaseUnavailable
from app.outbox import rules
from app.outbox.claim import Claim
from app.outbox.deliver import compose, send
from app.outbox.kinds import READY_MADE
from app.outbox.ledger import Ledger
from app.outbox.models import State
from app.outbox.pause import Pause
from app.outbox.rules import Event, Outcome
from app.outbox.slots import Slots
from app.outbox.state import Outbox
from app.quart_mail import Message

_log = logging.getLogger(__name__)
_LET_GO = Outcome(Event.LET_GO)
_LEVELS = {
    State.SENT: logging.DEBUG,
    State.SKIPPED: logging.DEBUG,
    State.FAILED: logging.WARNING,
}
"""A line for each mail that simply went out would cost a tenth of sending it; its row says as much."""


class Carrier:
    """Carries claims of one courier; `is_stopping` closes it to those whose DATA has not begun."""

    def __init__(self, outbox: Outbox, slots: Slots) -> None:
        self.outbox = outbox
        self.pause = Pause(outbox.times)
        self.ledger = Ledger(outbox.app, outbox.clock, slots.sending)
        self.is_stopping = False
        self._slots = slots

    async def carry(self, claim: Claim) -> None:
        """Deliver `claim` and settle it; cancelled, let it go, or if it was lost leave it alone."""
        try:
            try:
                outcome = await self._attempt(claim)
            except asyncio.CancelledError:
                if claim.is_lost:
                    raise
                outcome = Outcome(Event.LET_GO, in_doubt=claim.is_at_data)
            settlement = rules.settle(
                outcome,
                attempts=claim.attempts,
                in_doubt=claim.in_doubt,
                priority=claim.priority,
                times=self.outbox.times,
                jitter=random.uniform(-1, 1),  # noqa: S311 -- it spreads load and keeps no secret
            )
            if await self.ledger.settle(claim, settlement):
                self._tell(claim, settlement)
        finally:
            self.ledger.forget(claim)

    async def _attempt(self, claim: Claim) -> Outcome:
        """Compose, fence and send; `sending` is entered in groups, before a connection is free.

        What is ready-made, and may be big, is composed only there: fewer are in memory at once.
        """
        async with self.outbox.app.app_context():
            if self._is_closed_to(claim):
                return _LET_GO
            is_ready = claim.kind == READY_MADE
            message = None if is_ready else await compose(self.outbox, claim)
            if isinstance(message, Outcome):
                return message
            try:
                if not await self.ledger.fence(claim):
                    return _LET_GO
            except DatabaseUnavailable:
                return _LET_GO
            except DBAPIError as error:
                return Outcome(
                    Event.DEFERRED, text=f"The database refused: {type(error).__name__}."
                )
            message = message or await compose(self.outbox, claim)
            return message if isinstance(message, Outcome) else await self._send(claim, message)

    async def _send(self, claim: Claim, message: Message) -> Outcome:
        async with self._slots.connections.inside(claim.priority):
            if self._is_closed_to(claim):
                return _LET_GO
            outcome = await send(self.outbox, claim, message)
            was_paused = bool(self.pause)
            self.pause.learn(outcome, is_probe=claim.is_probe)
            if self.pause and not was_paused:
                _log.warning("Mail waits for the mail server: %s", outcome.text)
            elif was_paused and not self.pause:
                _log.warning("The mail server can be reached again, and mail goes out")
            return outcome

    def _is_closed_to(self, claim: Claim) -> bool:
        """Return whether it is not worth asking for a connection; whoever claims it next finds it expired."""
        is_paused = bool(self.pause) and not claim.is_probe
        may_begin = claim.may_begin(self.outbox.clock(), self.outbox.margin)
        return self.is_stopping or is_paused or not may_begin

    def _tell(self, claim: Claim, settlement: rules.Settlement) -> None:
        """Log what came of it, and wake who awaits it."""
        level = _LEVELS.get(settlement.state, logging.INFO if settlement.text else logging.DEBUG)
        said = f" ({settlement.text})" if settlement.text else ""
        if settlement.in_doubt:
            level, said = logging.WARNING, f" in doubt{said}"
        _log.log(level, "Mail %d (%s): %s%s", claim.id, claim.kind, settlement.state, said)
        if settlement.state.is_done:
            self.outbox.tell_done([claim.id])
