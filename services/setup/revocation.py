"""Closes the connections of workers that were revoked: NATS asks who somebody is only when it comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable

from bus.envelope import Entry, Stored
from bus.errors import Unavailable
from schemas.events import WorkerDefined
from schemas.workers import user_of

log = logging.getLogger(__name__)

AGAIN = 5.0  # seconds until connections are closed once more
TIMES = 2  # one that was just let in when its worker was revoked may not be there yet

Close = Callable[[Collection[str]], Awaitable[int]]


class Revocation:
    """Closes connections as the log says that workers are revoked. `close`: those of some users, on all servers."""

    def __init__(self, close: Close) -> None:
        self._close = close
        self._left: dict[str, int] = {}  # by user: how often to look for its connections still
        self._changed = asyncio.Event()

    def take(self, entries: Iterable[Entry]) -> None:
        """Take in what the log says next."""
        for entry in entries:
            said = entry.envelope.data if isinstance(entry, Stored) else None
            if isinstance(said, WorkerDefined) and said.definition is not None and said.definition.revoked_at:
                self._left[user_of(said.definition.id)] = TIMES
                self._changed.set()

    async def run(self) -> None:
        """Close connections for ever. What cannot be closed now, as no server responds, is closed later."""
        while True:
            if not self._left:
                self._changed.clear()
                await self._changed.wait()
            await self._close_all()
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), AGAIN)
            except TimeoutError:
                continue

    async def _close_all(self) -> None:
        users = list(self._left)
        try:
            closed = await self._close(users)
        except Unavailable as error:
            about = {"action": "revocation_failed"}
            log.warning("connections of revoked workers cannot be closed now: %s", error, extra=about)
            return
        if closed:
            log.info("closed %d connections of revoked workers", closed, extra={"action": "worker_disconnected"})
        self._left = {user: left - 1 for user, left in self._left.items() if left > 1 or user not in users}
