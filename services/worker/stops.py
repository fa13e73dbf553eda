"""Which executions and backups are to stop: followed as it is said, whosever they are, as it is said seldom."""

from __future__ import annotations

from collections.abc import Callable

from bus.envelope import Entry, Stored
from bus.log import Log
from schemas.events import BackupRequested, FlowCancelling

READS = ("flow.cancelling.*",)
REMEMBERED = 10_000


class Stops:
    """The reasons why executions and backups are to stop, up to `position` on the log."""

    def __init__(self, log: Log) -> None:
        self.position = 0
        self._log = log
        self._reasons: dict[tuple[str, str | None], str] = {}  # by execution, and VM (None: all of them); newest last

    async def open(self) -> None:
        """Begin where the log ends. Raises `Unavailable`."""
        self.position = (await self._log.identity()).last_sequence

    async def follow(self, changed: Callable[[], None]) -> None:
        """Follow the log for ever. `changed` is called whenever something was said."""
        async for batch in self._log.follow(READS, after=self.position):
            for entry in batch.entries:
                self.take(entry)
            self.position = batch.position
            if batch.entries:
                changed()

    def take(self, entry: Entry) -> None:
        """Take in one message."""
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, FlowCancelling):
            said = entry.envelope.data
            self._reasons[said.execution_id, said.context_id] = said.reason
            if len(self._reasons) > REMEMBERED:
                del self._reasons[next(iter(self._reasons))]

    def reason(self, request: BackupRequested) -> str | None:
        """Return why a backup is to stop, None when it is not."""
        whole = self._reasons.get((request.execution_id, None))
        return whole or self._reasons.get((request.execution_id, request.context_id))
