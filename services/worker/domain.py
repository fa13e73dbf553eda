"""What the log says of one backup: who makes its attempt now, and how it ended. Pure.

A queue's own count of deliveries is no such record: a server that was killed begins to count anew.
"""

from __future__ import annotations

from msgspec import structs

from schemas.base import Value
from schemas.events import (
    AttemptEvent,
    BackupAbandoned,
    BackupCancelled,
    BackupCompleted,
    BackupFailed,
    BackupRetrying,
    BackupSkipped,
    BackupStarted,
)

Report = AttemptEvent | BackupAbandoned | BackupSkipped


class Attempt(Value, frozen=True, kw_only=True):
    """The newest attempt at a backup. `sequence`: where its beginning is on the log. `over`: another is to follow."""

    number: int
    worker: str
    sequence: int
    over: bool = False


class End(Value, frozen=True, kw_only=True):
    """The end of a backup that counts: where on the log it is, and who has reported it.

    `begun`: how many attempts had begun, 0 when nobody has written anything. `snapshot_ref` is None without success.
    """

    sequence: int
    source: str
    begun: int
    snapshot_ref: str | None = None


class Backup(Value, frozen=True, kw_only=True):
    """A backup as its reports tell of it. `attempt` is the newest one, also of a backup that has ended.

    `abandoned`: the sequence of the last request that counts no more, as another one follows.
    """

    attempt: Attempt | None = None
    end: End | None = None
    abandoned: int = 0

    @property
    def next_attempt(self) -> int:
        """The number of the attempt that is to be made now."""
        return 1 if self.attempt is None else self.attempt.number + 1

    def lost(self, number: int, worker: str) -> bool:
        """Tell whether an attempt no longer counts: the backup has ended, or it is not the newest attempt."""
        return self.end is not None or not self._is_of(number, worker)

    def holds(self, event: AttemptEvent, source: str, worker: str) -> bool:
        """Tell whether what a worker reports as the outcome of its attempt is what the log says became of it."""
        if isinstance(event, BackupRetrying):
            over = self.attempt is not None and self.attempt.over
            return over and self.end is None and self._is_of(event.attempt, worker)
        return self.end is not None and self.end.source == source and self._is_of(event.attempt, worker)

    def _is_of(self, number: int, worker: str) -> bool:
        return self.attempt is not None and (self.attempt.number, self.attempt.worker) == (number, worker)


def evolve(backup: Backup, event: Report, sequence: int, source: str) -> Backup:
    """Take in one report about the backup, of a worker or of the executor: `source` is the envelope's."""
    match event:
        case _ if backup.end is not None:
            return backup  # the first end counts
        case AttemptEvent() if event.attempt < backup.next_attempt - 1:
            return backup  # of a worker that was thought dead
        case BackupStarted() if event.attempt >= backup.next_attempt:
            # of two workers that begin the same attempt, the first one has it
            attempt = Attempt(number=event.attempt, worker=event.worker, sequence=sequence)
            return structs.replace(backup, attempt=attempt)
        case BackupRetrying() if backup.attempt is not None:
            return structs.replace(backup, attempt=structs.replace(backup.attempt, over=True))
        case BackupAbandoned():
            return structs.replace(backup, abandoned=max(event.request, backup.abandoned))
        case BackupCompleted() | BackupFailed() | BackupCancelled() | BackupSkipped():
            ref = event.snapshot_ref if isinstance(event, BackupCompleted) else None
            begun = backup.next_attempt - 1
            return structs.replace(backup, end=End(sequence=sequence, source=source, begun=begun, snapshot_ref=ref))
        case _:
            return backup
