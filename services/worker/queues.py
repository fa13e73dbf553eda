"""Which queues a worker takes from: that of any worker, and those of the pools whose labels it has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from bus.errors import Unavailable
from bus.log import Log
from bus.stream import Queue, queue_of
from services.pools import KEY, queues_for

LOOK_EVERY = 2.0  # seconds until a worker finds a pool that is new


class PoolQueues:
    """The queues of a worker with these labels, as the set-up has published them."""

    def __init__(self, log: Log, labels: Mapping[str, str]) -> None:
        self._log = log
        self._labels = labels
        self._queues: Sequence[Queue] = (queue_of(None),)

    def current(self) -> Sequence[Queue]:
        """Return the queues to take from now."""
        return self._queues

    async def look(self) -> None:
        """Find which there are. Raises `Unavailable`."""
        self._queues = queues_for(await self._log.get_status(KEY), self._labels)

    async def follow(self) -> None:
        """Look again and again: pools come and go."""
        while self._labels:  # without any it serves no pool
            await asyncio.sleep(LOOK_EVERY)
            with suppress(Unavailable):
                await self.look()
        await asyncio.Event().wait()
