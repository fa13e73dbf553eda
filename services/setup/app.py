"""The set-up's shell: declares the log, the bucket beside it and the queues, and keeps the queues as they are to be.

It alone may create and change them: every other part waits until they are there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from bus.errors import Unavailable
from bus.log import Log
from bus.setup import QUEUES
from bus.stream import ANYWHERE, Placement, Queue
from services.hosting import Subscribe

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds between looks whether the queues are as they are to be


class Setup:
    """Declares what the others need. `placement`: where a cluster keeps it."""

    name = "setup"
    reads: Sequence[str] = ()
    position = 0

    def __init__(self, placement: Placement = ANYWHERE) -> None:
        self._placement = placement

    async def prepare(self, log: Log) -> None:
        """Declare everything. Raises `Unavailable`."""
        self._log = log
        await log.declare(self.queues(), self._placement)

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        """Nothing is read."""

    async def run(self) -> None:
        """Put right what somebody has deleted or changed. A deleted queue delivers all that it ever held again."""
        while True:
            await asyncio.sleep(EVERY)
            with suppress(Unavailable):
                for news in await self._log.keep(self.queues()):
                    log.warning("%s", news, extra={"action": "queue_restored", "part": self.name})

    def queues(self) -> Sequence[Queue]:
        """Return the queues that are to be there."""
        return QUEUES
