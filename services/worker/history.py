"""What the log says of attempts at backups: followed as it grows, and read again where it is older than that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from bus.envelope import Entry, Stored
from bus.log import Log
from bus.stream import Queue
from services.worker.domain import Attempts, Report, evolve
from services.worker.run import Run, Stopping

REPORTS = "backup.>"
STOPS = ("flow.cancelling.*", "flow.completed.*")
READS = (REPORTS, *STOPS)
PAGE = 10_000  # places on the log that are read at once when a request is from long ago


class History:
    """The attempts of all workers, up to `position` on the log. `stopping` is set when this worker goes down."""

    def __init__(self, log: Log, stopping: asyncio.Event) -> None:
        self.position = 0
        self.attempts = Attempts()
        self._log = log
        self._stopping = stopping
        self._past = _Past(log)
        self._moved = asyncio.Event()

    async def open(self, queues: Sequence[Queue]) -> None:
        """Find where to begin, given the queues that are taken from. Raises `Unavailable`."""
        acknowledged = [await self._log.acknowledged(queue) for queue in queues]
        executor = await self._log.checkpoint("executor")
        # a backup that was requested again has attempts that are older than its message, and not older than these
        self.position = min(*acknowledged, executor.position)
        self.attempts = Attempts(since=self.position)

    async def follow(self, moved: Callable[[], None]) -> None:
        """Follow the log for ever. `moved` is called whenever there was something new, before anybody else sees it."""
        async for batch in self._log.follow(READS, after=self.position):
            _fold(self.attempts, batch.entries)
            self.position = batch.position
            moved()
            self.wake()

    def wake(self) -> None:
        """Wake those who wait for the position to move."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def of(self, run: Run, until: int | None = None) -> Attempts:
        """Return what the log says of a run's backup, now or at least until a sequence. Raises as `caught_up`."""
        await self.caught_up(until)
        if self.attempts.knows(run.request.backup_id, run.entry.sequence):
            return self.attempts
        return await self._past.read(run.entry, run.request.backup_id, until=self.position)

    async def caught_up(self, until: int | None = None) -> None:
        """Return when all has been followed that is on the log, now or up to a sequence.

        Raises `Stopping`, `Unavailable`.
        """
        last = await self._log.last_sequence(REPORTS) if until is None else until
        while self.position < last:
            if self._stopping.is_set():
                raise Stopping
            await self._moved.wait()


class _Past:
    """What the log says of requests from before all that a worker follows.

    A consumer that was made anew delivers everything again, in order: so the past is read once, forwards, and no
    further than the backup's end.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._attempts: Attempts | None = None
        self._position = 0
        self._reading = asyncio.Lock()

    async def read(self, entry: Stored, backup_id: str, *, until: int) -> Attempts:
        """Return what the log says up to a sequence of a backup that was requested there, or up to its end."""
        async with self._reading:
            attempts = self._attempts
            if attempts is None or not attempts.knows(backup_id, entry.sequence):
                attempts = self._attempts = Attempts(since=entry.sequence - 1)
                self._position = entry.sequence - 1
            while backup_id not in attempts.ended and self._position < until:
                page = min(self._position + PAGE, until)
                _fold(attempts, await self._log.read(READS, after=self._position, until=page))
                self._position = page
            return attempts


def _fold(attempts: Attempts, entries: Sequence[Entry]) -> None:
    for entry in entries:
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, Report):
            evolve(attempts, entry.envelope.data, entry.sequence)
