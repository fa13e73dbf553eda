"""What the log says of the backups that this worker holds: asked for each of them alone, about nothing else.

So what a worker reads does not depend on how many others there are, and what they do (docs/adr/0027).
"""

from __future__ import annotations

from bus.log import Log
from services.worker.followed import Followed
from services.worker.record import Record


class History:
    """Asks the log. `position` is the highest sequence that anything has shown to be there."""

    def __init__(self, log: Log, followed: Followed) -> None:
        self.position = 0
        self._log = log
        self._followed = followed

    async def open(self) -> None:
        """Find where the log ends. Raises `Unavailable`."""
        self.position = (await self._log.identity()).last_sequence

    async def begin(self, record: Record) -> None:
        """Take in all that the log says of a backup that was delivered. Raises `Unavailable`."""
        if record.request.round > 1:
            # it has attempts that are older than its message, and not older than what the executor has not finished
            executor = await self._log.checkpoint("executor")
            record.position = record.former = min(record.position, executor.position)
        await self.look(record)

    async def look(self, record: Record) -> None:
        """Take in what the log says now of a backup. Raises `Unavailable`.

        One question, when nothing was said since. The guard of the next report is never beyond what was taken in.
        """
        newest = await self._log.last(record.subjects)
        last = 0 if newest is None else newest.sequence
        reported = await self._log.after(record.subjects, record.position) if last > record.position else []
        if record.is_late(reported, newest):
            record.position = 0
            reported = await self._log.after(record.subjects, 0)
        former = await self._followed.former(record.request, record.former)
        for entry in sorted([*reported, *former], key=lambda entry: entry.sequence):
            record.fold(entry)
        record.position = max([record.position, *(entry.sequence for entry in reported)])
        record.former = max([record.former, *(entry.sequence for entry in former)])
        record.guard = reported[-1].sequence if reported else min(last, record.position)
        self.seen(max(record.position, record.former))

    def seen(self, sequence: int) -> None:
        """Note that the log goes as far as this."""
        self.position = max(self.position, sequence)
