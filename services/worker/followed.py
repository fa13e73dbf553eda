"""What a worker follows, whosever it is, as it is seldom said: what is to stop, and what older versions report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

from bus.envelope import Entry, Stored
from bus.log import Log
from schemas.events import BackupEvent, BackupRequested, FlowCancelling

# what is folded of reports; those of older versions have three tokens: nobody finds them by their VM
REPORTS = tuple(f"backup.{event}" for event in ("started", "retrying", "completed", "failed", "cancelled", "skipped"))
READS = ("flow.cancelling.*", *(f"{report}.*" for report in REPORTS))
REMEMBERED = 10_000  # stops, and backups


class Followed:
    """What was said of it, after `since` and up to `position` on the log."""

    def __init__(self, log: Log) -> None:
        self.since = self.position = 0
        self._log = log
        self._reasons: dict[tuple[str, str | None], str] = {}  # by execution, and VM (None: all of them); newest last
        self._former: dict[str, list[Entry]] = {}  # by backup, newest last
        self._last_former = 0  # the last report of an older version when this began

    async def open(self) -> None:
        """Take in what was said since the executor's oldest execution that is not over began. Raises `Unavailable`."""
        lasts = await asyncio.gather(*(self._log.last_sequence(subject) for subject in READS[1:]))
        self._last_former = max(lasts)
        self.since = self.position = (await self._log.checkpoint("executor")).position
        for entry in await self._log.read(READS, after=self.since):
            self._take(entry)
            self.position = entry.sequence

    async def follow(self, changed: Callable[[], None]) -> None:
        """Follow the log for ever. `changed` is called whenever something was said."""
        async for batch in self._log.follow(READS, after=self.position):
            for entry in batch.entries:
                self._take(entry)
            self.position = batch.position
            if batch.entries:
                changed()

    def reason(self, request: BackupRequested) -> str | None:
        """Return why a backup is to stop, None when it is not."""
        whole = self._reasons.get((request.execution_id, None))
        return whole or self._reasons.get((request.execution_id, request.context_id))

    async def former(self, request: BackupRequested, after: int) -> Sequence[Entry]:
        """Return what older versions have reported about a backup after a sequence. Raises `Unavailable`."""
        if after < min(self.since, self._last_former):
            return await self._long_ago(request, after)
        return [entry for entry in self._former.get(request.backup_id, ()) if entry.sequence > after]

    async def _long_ago(self, request: BackupRequested, after: int) -> Sequence[Entry]:
        """Read on in the flow, up to where the backup has ended: a queue that was made anew delivers everything."""
        found: list[Entry] = []
        filters = [f"{report}.{request.flow_id}" for report in REPORTS]
        async with aclosing(self._log.follow(filters, after=after)) as pages:
            async for page in pages:
                ours = [entry for entry in page.entries if _backup_of(entry) == request.backup_id]
                found += ours
                if page.caught_up or any(not entry.subject.startswith(REPORTS[:2]) for entry in ours):
                    break
        return found

    def _take(self, entry: Entry) -> None:
        if isinstance(entry, Stored) and isinstance(said := entry.envelope.data, FlowCancelling):
            self._reasons[said.execution_id, said.context_id] = said.reason
            _forget(self._reasons)
        elif (backup_id := _backup_of(entry)) is not None:
            self._former.setdefault(backup_id, []).append(entry)
            _forget(self._former)


def _backup_of(entry: Entry) -> str | None:
    data = entry.envelope.data if isinstance(entry, Stored) else None
    return data.backup_id if isinstance(data, BackupEvent) else None


def _forget(remembered: dict[Any, Any]) -> None:
    if len(remembered) > REMEMBERED:
        del remembered[next(iter(remembered))]
