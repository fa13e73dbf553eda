"""The feed: the log read once, and handed to all who look on. Whoever is too slow is cut, and holds up nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from bus.envelope import Stored
from bus.log import Log

WAITING = 2_000  # messages that may wait for one who looks on
PAGE = 500  # messages read at once by one who catches up

Takes = Callable[[Stored], bool]


class Cut(Exception):
    """Who looks on was too slow. Their last sequence is where they may come back."""


class Onlooker:
    """One who looks on from the feed's position at that moment."""

    def __init__(self, takes: Takes) -> None:
        self.takes = takes
        self.waiting: asyncio.Queue[Stored | None] = asyncio.Queue(maxsize=WAITING)
        self.cut = False


class Feed:
    """Follows the log. `run` must be running."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._onlookers: set[Onlooker] = set()
        self._position = 0

    async def run(self, listening: asyncio.Event) -> None:
        """Follow until cancelled; `listening` is set once nothing can be missed."""
        self._position = (await self._log.identity()).last_sequence

        async def ready() -> None:
            listening.set()

        async for batch in self._log.follow([">"], after=self._position, ready=ready):
            stored = [entry for entry in batch.entries if isinstance(entry, Stored)]
            for onlooker in list(self._onlookers):
                self._hand(onlooker, stored)
            self._position = batch.position

    def _hand(self, onlooker: Onlooker, entries: list[Stored]) -> None:
        for entry in entries:
            if not onlooker.takes(entry):
                continue
            if onlooker.waiting.full():
                onlooker.cut = True
                self._onlookers.discard(onlooker)
                return
            onlooker.waiting.put_nowait(entry)

    async def look(self, takes: Takes, *, after: int | None, ping: float) -> AsyncIterator[Stored | None]:
        """Yield what comes, from a sequence on or from now; None when nothing did for `ping` seconds. Raises `Cut`."""
        onlooker = Onlooker(takes)
        self._onlookers.add(onlooker)
        position = self._position  # what comes after it is handed over; what was before is read from the log
        try:
            if after is not None and after < position:
                async for page in self._log.pages(after=after, until=position, size=PAGE):
                    for entry in page:
                        if isinstance(entry, Stored) and takes(entry):
                            yield entry
            while True:
                if onlooker.cut and onlooker.waiting.empty():
                    raise Cut
                try:
                    entry = await asyncio.wait_for(onlooker.waiting.get(), ping)
                except TimeoutError:
                    yield None
                    continue
                if entry is not None and (after is None or entry.sequence > after):
                    yield entry
        finally:
            self._onlookers.discard(onlooker)
