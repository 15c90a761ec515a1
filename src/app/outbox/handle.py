"""The handle a poster gets: await it to learn what became of the mail."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from typing import Any

from sqlalchemy import select

from app.outbox.models import Delivery, State
from app.outbox.state import Outbox

_WORST_FIRST = (State.FAILED, State.EXPIRED, State.SKIPPED, State.SENT)


class NotPosted(LookupError):
    """The mail is not in the outbox: its transaction is still open or was rolled back, or it was purged."""


class Handle:
    """What was posted. `await handle` ends when every delivery of it is done, whoever delivers it.

    Gives the state: sent, or the worst one of several recipients. Raises NotPosted.
    """

    def __init__(self, outbox: Outbox, rows: Sequence[tuple[int, str]]) -> None:
        self._outbox = outbox
        self._rows = dict(rows)

    @property
    def ids(self) -> list[int]:
        """The ids of the deliveries."""
        return list(self._rows)

    def __await__(self) -> Generator[Any, None, State]:
        return self.wait().__await__()

    async def wait(self) -> State:
        """Return the final state, looking when this process's courier settles and at every poll."""
        with self._outbox.awaiting(self._rows) as done:
            while True:
                done.clear()
                states = await self.states()
                if all(state.is_done for state in states.values()):
                    return min(states.values(), key=_WORST_FIRST.index)
                try:
                    async with asyncio.timeout(self._outbox.poll):
                        await done.wait()
                except TimeoutError:
                    continue

    async def states(self) -> dict[int, State]:
        """Return the state of each delivery by its id, as committed now."""
        rows = select(Delivery.id, Delivery.message_id, Delivery.state).where(
            Delivery.id.in_(self._rows)
        )
        async with self._outbox.database.reading() as connection:
            found = (await connection.execute(rows)).all()
        states = {row.id: State(row.state) for row in found if row.message_id == self._rows[row.id]}
        if len(states) < len(self._rows):
            raise NotPosted(
                "Await a mail's handle after the block that posts it, and before it is purged."
            )
        return states
