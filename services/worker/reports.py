"""What a worker reports about its attempts."""

from __future__ import annotations

from bus.clock import Clock
from bus.envelope import Envelope, envelope
from bus.log import Log
from bus.subjects import id_of
from schemas.events import BackupEvent
from services.happenings import tell
from services.worker.run import Run


class Reports:
    """Appends reports to the log, each of them once. `source` names the worker in the envelope."""

    def __init__(self, log: Log, source: str, clock: Clock) -> None:
        self._log = log
        self._source = source
        self._clock = clock

    async def report(self, run: Run, event: BackupEvent) -> int:
        """Append a report about a run, and return where on the log it is. Raises `Unavailable`, `Unknown`."""
        sent = self.envelope(run, event)
        sequence = await self._log.publish_once(sent)
        tell([sent], sequence, part="worker")
        return sequence

    def envelope(self, run: Run, event: BackupEvent) -> Envelope:
        """Return a report in its envelope."""
        return envelope(
            event,
            id=id_of(event),
            source=self._source,
            time=self._clock(),
            correlationid=event.execution_id,
            causationid=run.entry.envelope.id,
        )
