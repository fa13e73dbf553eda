"""The broadcaster: hands what comes on the log to all subscribers; who is too slow is dropped, and delays nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from bus.envelope import Stored
from bus.log import Log
from bus.reading import Page

WAITING = 2_000  # messages that may wait for one subscriber
WAITING_BYTES = 4 << 20  # and how large they may be together; of one message, whatever its size
PAGE = 25  # messages read at once by one who catches up: they stay in memory while that one does not take them
HELD_BYTES = 64 << 20  # by all who catch up, together: who comes then waits until others have gone on, or were cut

Takes = Callable[[Stored], bool]


class SlowConsumer(Exception):
    """The subscriber was too slow. Their last sequence is where they may come back."""


class Subscriber:
    """One who gets what comes after the broadcaster's position at that moment."""

    def __init__(self, takes: Takes) -> None:
        self.takes = takes
        self.waiting: asyncio.Queue[Stored | None] = asyncio.Queue(maxsize=WAITING)  # None: the end
        self.size = 0  # bytes of what waits
        self.too_slow = False

    def hand(self, entry: Stored) -> bool:
        """Let a message wait for them; tell whether there is room for it."""
        full = self.waiting.full() or self.size + len(entry.body) > WAITING_BYTES
        if full and not self.waiting.empty():
            return False
        self.waiting.put_nowait(entry)
        self.size += len(entry.body)
        return True

    async def take(self) -> Stored | None:
        """Wait for the next message."""
        entry = await self.waiting.get()
        self.size -= len(entry.body) if entry is not None else 0
        return entry


class Broadcaster:
    """Hands out the log. `hear` must be given every batch that comes after `since`."""

    def __init__(self, log: Log, *, since: int) -> None:
        self._log = log
        self._subscribers: set[Subscriber] = set()
        self._position = since
        self._held = 0  # bytes of the pages of those who catch up
        self._freed = asyncio.Event()
        self._closed = False

    def hear(self, batch: Page) -> None:
        """Take in what the log says next."""
        stored = [entry for entry in batch.entries if isinstance(entry, Stored)]
        for subscriber in list(self._subscribers):
            self._hand(subscriber, stored)
        self._position = batch.position

    def _hand(self, subscriber: Subscriber, entries: list[Stored]) -> None:
        for entry in entries:
            if subscriber.takes(entry) and not subscriber.hand(entry):
                subscriber.too_slow = True
                self._subscribers.discard(subscriber)
                return

    def close(self) -> None:
        """End all subscriptions: the process is to end. They may come back elsewhere, with their last sequence."""
        self._closed = True
        self._freed.set()
        for subscriber in self._subscribers:
            if not subscriber.waiting.full():  # else nobody waits for what comes next
                subscriber.waiting.put_nowait(None)

    async def subscribe(self, takes: Takes, *, after: int | None, ping: float) -> AsyncIterator[Stored | None]:
        """Yield what comes, from a sequence on or from now; None when nothing did for `ping` seconds.

        Raises `SlowConsumer`.
        """
        subscriber = Subscriber(takes)
        self._subscribers.add(subscriber)
        position = self._position  # what comes after it is handed over; what was before is read from the log
        try:
            if after is not None and after < position:
                async with aclosing(self._earlier(after, position)) as earlier:
                    async for entry in earlier:
                        if self._closed:
                            return
                        if takes(entry):
                            yield entry
            while not self._closed:
                if subscriber.too_slow and subscriber.waiting.empty():
                    raise SlowConsumer
                try:
                    entry = await asyncio.wait_for(subscriber.take(), ping)
                except TimeoutError:
                    yield None
                    continue
                if entry is not None and (after is None or entry.sequence > after):
                    yield entry
        finally:
            self._subscribers.discard(subscriber)

    async def _earlier(self, after: int, until: int) -> AsyncGenerator[Stored]:
        """Yield what is on the log after a sequence and up to one, a small page at a time."""
        async with aclosing(self._log.follow([">"], after=after, fetch=PAGE)) as pages:
            while True:
                await self._room()
                page = await anext(pages)
                held = sum(len(entry.body) for entry in page.entries)
                self._held += held
                try:
                    for entry in page.entries:
                        if isinstance(entry, Stored) and entry.sequence <= until:
                            yield entry
                finally:
                    self._held -= held
                    self._freed.set()
                if page.caught_up or page.position >= until:  # what was between the last one and `until` has expired
                    return

    async def _room(self) -> None:
        """Wait until those who catch up hold little enough for another page."""
        while self._held >= HELD_BYTES and not self._closed:
            self._freed.clear()
            await self._freed.wait()
