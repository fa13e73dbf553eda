"""A backup as it is on the log, in the eyes of the one who makes an attempt at it."""

from __future__ import annotations

from collections.abc import Sequence

from bus.envelope import Entry, Stored
from schemas.events import AttemptEvent, BackupEvent, BackupRequested, BackupStarted
from services.worker.domain import Backup, Report, evolve

SOURCE = "worker/"  # what the sources of reports begin with, before the worker's name


class Record:
    """What has been read of the log about one backup, and the attempt at it that is the holder's own.

    `worker`: who makes that attempt, `attempt`: its number, 0 until it has begun. All reports about the VM have been
    read up to `position`, and up to `former` those without a VM in their subject, as older versions wrote them. `guard`
    is the last sequence on `subjects`: the next report is appended on the condition that it still is.
    """

    def __init__(self, entry: Stored, request: BackupRequested, worker: str, attempt: int = 0) -> None:
        self.entry = entry
        self.request = request
        self.worker = worker
        self.attempt = attempt
        self.subjects = f"backup.*.{request.flow_id}.{request.context_id}"
        self.position = self.former = entry.sequence
        self.guard = 0
        self.backup = Backup()

    @property
    def source(self) -> str:
        """The source of what the holder reports, in its envelope."""
        return f"{SOURCE}{self.worker}"

    @property
    def lost(self) -> bool:
        """Whether the log says that the holder's attempt is over: by its own end, or because it is lost."""
        return self.attempt > 0 and self.backup.lost(self.attempt, self.worker)

    def has(self, event: AttemptEvent) -> bool:
        """Tell whether the log holds this outcome of the holder's attempt, and it counts."""
        return self.backup.holds(event, self.source, self.worker)

    def is_late(self, reported: Sequence[Entry], newest: Entry | None) -> bool:
        """Tell whether there was more about the backup before all that has been read of it, up to what is `reported`.

        So it is when a request is on the log a second time: about one VM there is little, and all of it is to be read.
        """
        if self.position == 0 or self.backup != Backup():
            return False
        about = [data for entry in reported if (data := self._about(entry)) is not None]
        if not about:
            return newest is not None and newest.sequence <= self.position and self._about(newest) is not None
        return isinstance(about[0], AttemptEvent) and not isinstance(about[0], BackupStarted)

    def _about(self, entry: Entry) -> BackupEvent | None:
        data = entry.envelope.data if isinstance(entry, Stored) else None
        if isinstance(data, BackupRequested) or not isinstance(data, BackupEvent):
            return None
        return data if data.backup_id == self.request.backup_id else None

    def fold(self, entry: Entry) -> None:
        """Take in what was read."""
        if isinstance(entry, Stored) and isinstance(data := self._about(entry), Report):
            self.backup = evolve(self.backup, data, entry.sequence, entry.envelope.source)

    def reported(self, event: BackupEvent, sequence: int) -> None:
        """Take in what the holder has reported: nothing came between that and what was read before."""
        if isinstance(event, Report):
            self.backup = evolve(self.backup, event, sequence, self.source)
        self.position = self.guard = sequence
        if isinstance(event, BackupStarted):
            self.attempt = event.attempt
