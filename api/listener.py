"""The listener: the one follower of the log in an API process. What it reads is handed to all who hear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from bus.log import Log
from bus.reading import Page

Hears = Callable[[Page], None]


class Listener:
    """Follows the log after a position. `run` must be running."""

    reads: Sequence[str] = (">",)

    def __init__(self, log: Log, hearers: Sequence[Hears], *, after: int) -> None:
        self._log = log
        self._hearers = hearers
        self.position = after

    async def run(self, listening: asyncio.Event) -> None:
        """Follow until cancelled; `listening` is set once nothing can be missed."""

        async def ready() -> None:
            listening.set()

        async for batch in self._log.follow(self.reads, after=self.position, ready=ready):
            for hears in self._hearers:
                hears(batch)
            self.position = batch.position
