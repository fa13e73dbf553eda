"""What a worker reports about its attempts: each report on the condition that nothing came to the backup since."""

from __future__ import annotations

import asyncio

from bus.clock import Clock
from bus.envelope import Envelope, envelope
from bus.errors import Conflict, Unavailable
from bus.log import Log
from bus.subjects import id_of
from schemas.events import AttemptEvent, BackupEvent
from services.happenings import tell
from services.worker.history import History
from services.worker.record import Record
from services.worker.run import Lost

TRIES = 10  # how often it is said again when something else came to the backup first
PAUSE = 0.1  # seconds between those


class Reports:
    """Appends reports to the log. What another worker, or the executor, said first refuses them."""

    def __init__(self, log: Log, history: History, clock: Clock) -> None:
        self._log = log
        self._history = history
        self._clock = clock

    async def report(self, record: Record, event: BackupEvent) -> None:
        """Append a report. Raises `Conflict` when it no longer rests on all that is known; `Unavailable`, `Unknown`."""
        await self.append(record, self.envelope(record, event))

    async def append(self, record: Record, sent: Envelope) -> None:
        """Append a report that is in its envelope. Raises as `report`."""
        sequence = await self._log.report(sent, about=record.subjects, last=record.guard)
        self._history.seen(sequence)
        assert isinstance(sent.data, BackupEvent)
        record.reported(sent.data, sequence)
        tell([sent], sequence, part="worker")

    async def conclude(self, record: Record, sent: Envelope) -> None:
        """Append the outcome of an attempt, once: it may be there already, as an append may have had no reply.

        Raises `Lost` when the attempt does not count any more; `Unavailable`, `Unknown`.
        """
        assert isinstance(sent.data, AttemptEvent)
        for number in range(TRIES):
            if record.has(sent.data):
                return
            if record.lost:
                raise Lost
            try:
                await self.append(record, sent)
            except Conflict:
                await asyncio.sleep(number * PAUSE)
                await self._history.look(record)
            else:
                return
        raise Unavailable(f"backup {record.request.backup_id} is reported about faster than it can be read")

    async def note(self, record: Record, event: BackupEvent) -> None:
        """Append what is to be known whatever became of the backup. Raises `Unavailable`, `Unknown`."""
        sent = self.envelope(record, event)
        tell([sent], await self._log.publish_once(sent), part="worker")

    def envelope(self, record: Record, event: BackupEvent) -> Envelope:
        """Return a report in its envelope."""
        return envelope(
            event,
            id=id_of(event),
            source=record.source,
            time=self._clock(),
            correlationid=event.execution_id,
            causationid=record.entry.envelope.id,
        )
