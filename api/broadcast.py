"""The broadcaster: hands what comes on the log to all subscribers; who is too slow is dropped, and delays nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from bus.envelope import Stored
from bus.log import Log
from bus.reading import Page

WAITING = 2_000  # messages that may wait for one subscriber
PAGE = 500  # messages read at once by one who catches up

Takes = Callable[[Stored], bool]


class SlowConsumer(Exception):
    """The subscriber was too slow. Their last sequence is where they may come back."""


class Subscriber:
    """One who gets what comes after the broadcaster's position at that moment."""

    def __init__(self, takes: Takes) -> None:
        self.takes = takes
        self.waiting: asyncio.Queue[Stored | None] = asyncio.Queue(maxsize=WAITING)  # None: the end
        self.too_slow = False


class Broadcaster:
    """Hands out the log. `hear` must be given every batch that comes after `since`."""

    def __init__(self, log: Log, *, since: int) -> None:
        self._log = log
        self._subscribers: set[Subscriber] = set()
        self._position = since
        self._closed = False

    def hear(self, batch: Page) -> None:
        """Take in what the log says next."""
        stored = [entry for entry in batch.entries if isinstance(entry, Stored)]
        for subscriber in list(self._subscribers):
            self._hand(subscriber, stored)
        self._position = batch.position

    def _hand(self, subscriber: Subscriber, entries: list[Stored]) -> None:
        for entry in entries:
            if not subscriber.takes(entry):
                continue
            if subscriber.waiting.full():
                subscriber.too_slow = True
                self._subscribers.discard(subscriber)
                return
            subscriber.waiting.put_nowait(entry)

    def close(self) -> None:
        """End all subscriptions: the process is to end. They may come back elsewhere, with their last sequence."""
        self._closed = True
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
                async for page in self._log.pages(after=after, until=position, size=PAGE):
                    for entry in page:
                        if self._closed:
                            return
                        if isinstance(entry, Stored) and takes(entry):
                            yield entry
            while not self._closed:
                if subscriber.too_slow and subscriber.waiting.empty():
                    raise SlowConsumer
                try:
                    entry = await asyncio.wait_for(subscriber.waiting.get(), ping)
                except TimeoutError:
                    yield None
                    continue
                if entry is not None and (after is None or entry.sequence > after):
                    yield entry
        finally:
            self._subscribers.discard(subscriber)
