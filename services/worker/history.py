"""What the log says of the backups that this worker holds: asked for each of them alone, about nothing else.

So what a worker reads does not depend on how many others there are, and what they do (docs/adr/0027).
"""

from __future__ import annotations

import asyncio

from bus.envelope import Entry, Stored
from bus.errors import Unavailable
from bus.log import Log
from schemas.events import BackupEvent, BackupRequested
from services.worker.record import Record
from services.worker.stops import Stops

ENDS = ("started", "retrying", "completed", "failed", "cancelled", "skipped")  # what is folded of a backup's reports
LOOKS = 10  # how often copies of the log are asked that lack what another one has
PAUSE = 0.1  # seconds between those


class History:
    """Asks the log. `position` is the highest sequence that anything has shown to be there."""

    def __init__(self, log: Log, stops: Stops) -> None:
        self.position = 0
        self._log = log
        self._stops = stops

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
        """Take in what the log says now of a backup, and whether it is to stop. Raises `Unavailable`.

        Any server of a cluster may reply, also one whose copy lags. What was read last is never more than what the next
        report is conditional on, so a decision that was taken on too little is refused.
        """
        for _ in range(LOOKS):
            last, reported, beside = await asyncio.gather(
                self._log.last_sequence(record.subjects),
                self._log.after(record.subjects, record.position),
                self._log.newest(_beside(record.request)),
            )
            former = await self._former(record, beside)
            await self._take_stops(record, beside)
            for entry in sorted([*reported, *former], key=lambda entry: entry.sequence):
                _fold(record, entry)
            record.position = max([record.position, *(entry.sequence for entry in reported)])
            record.former = max([record.former, *(entry.sequence for entry in former)])
            self.seen(max(record.position, record.former))
            if last <= record.position:
                record.guard = max([last, *(entry.sequence for entry in reported)])
                return
            await asyncio.sleep(PAUSE)
        raise Unavailable(f"not all is there yet to be read about backup {record.request.backup_id}")

    def seen(self, sequence: int) -> None:
        """Note that the log goes as far as this."""
        self.position = max(self.position, sequence)

    async def _former(self, record: Record, beside: list[Entry]) -> list[Entry]:
        """Return what workers of older versions have reported meanwhile, about any VM of the flow."""
        last = max((entry.sequence for entry in beside if entry.subject.startswith("backup.")), default=0)
        if last <= record.former:
            return []
        return await self._log.after(f"backup.*.{record.request.flow_id}", record.former)

    async def _take_stops(self, record: Record, beside: list[Entry]) -> None:
        stops = [entry for entry in beside if entry.subject.startswith("flow.")]
        for entry in stops:
            self._stops.take(entry)
            if entry.sequence > record.entry.sequence and self._stops.reason(record.request) is None:
                for earlier in await self._log.after(entry.subject, record.entry.sequence):
                    self._stops.take(earlier)


def _beside(request: BackupRequested) -> list[str]:
    """Return the subjects beside its own that may tell of a backup."""
    return [*(f"backup.{event}.{request.flow_id}" for event in ENDS), f"flow.cancelling.{request.flow_id}"]


def _fold(record: Record, entry: Entry) -> None:
    if isinstance(entry, Stored) and isinstance(entry.envelope.data, BackupEvent):
        record.fold(entry.envelope.data, entry.sequence, entry.envelope.source)
