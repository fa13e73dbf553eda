"""What the log says of each backup: who makes its attempt now, how it ended, whether it is to stop. Pure.

A queue's own count of deliveries is no such record: a server that was killed begins to count anew.
"""

from __future__ import annotations

from schemas.base import Value
from schemas.events import (
    AttemptEvent,
    BackupAbandoned,
    BackupCancelled,
    BackupCompleted,
    BackupFailed,
    BackupRequested,
    BackupRetrying,
    BackupSkipped,
    BackupStarted,
    FlowCancelling,
    FlowCompleted,
)

Report = AttemptEvent | BackupAbandoned | BackupSkipped | FlowCancelling | FlowCompleted

REMEMBERED = 100_000  # ended backups


class Attempt(Value, frozen=True, kw_only=True):
    """The newest attempt at a backup. `sequence`: where its beginning is on the log. `over`: another is to follow."""

    number: int
    worker: str
    sequence: int
    over: bool = False


class End(Value, frozen=True, kw_only=True):
    """The end of a backup that counts, and where on the log it is.

    `begun`: how many attempts had begun, 0 when nobody has written anything. `snapshot_ref` is None without success.
    """

    sequence: int
    begun: int
    snapshot_ref: str | None = None


class Attempts:
    """Attempts by backup. `evolve` changes it in place. Of requests up to `since` on the log it may not know all."""

    def __init__(self, since: int = 0) -> None:
        self.since = since
        self.begun: dict[str, Attempt] = {}  # by backup, of those that have not ended
        self.ended: dict[str, End] = {}  # by backup, oldest first
        self.stopped: dict[tuple[str, str | None], str] = {}  # by execution, and VM (None: all of them): why
        self.abandoned: dict[str, int] = {}  # by backup that has not ended: the last request that counts no more

    def knows(self, backup_id: str, requested: int) -> bool:
        """Tell whether what is here is all that the log says of a backup that was requested there."""
        return requested > self.since or backup_id in self.begun or backup_id in self.ended

    def stop_reason(self, request: BackupRequested) -> str | None:
        """Return why a backup is to stop, None when it is not."""
        whole = self.stopped.get((request.execution_id, None))
        return whole or self.stopped.get((request.execution_id, request.context_id))

    def withdrawn(self, backup_id: str, requested: int) -> bool:
        """Tell whether a request that stands there counts no more: another one follows, perhaps for other workers."""
        return requested <= self.abandoned.get(backup_id, 0)

    def next_attempt(self, backup_id: str) -> int:
        """Return the number of the attempt that is to be made now."""
        attempt = self.begun.get(backup_id)
        return 1 if attempt is None else attempt.number + 1

    def lost(self, backup_id: str, number: int, worker: str) -> bool:
        """Tell whether an attempt no longer counts: the backup has ended, or it is not the newest attempt."""
        attempt = self.begun.get(backup_id)
        return attempt is None or (attempt.number, attempt.worker) != (number, worker)


def evolve(attempts: Attempts, event: Report, sequence: int) -> Attempts:
    """Take in one report of a worker, or of the executor: an execution is to stop, or has ended."""
    match event:
        case FlowCancelling():
            attempts.stopped[event.execution_id, event.context_id] = event.reason
        case FlowCompleted():
            for key in [key for key in attempts.stopped if key[0] == event.execution_id]:
                del attempts.stopped[key]
        case AttemptEvent() | BackupSkipped() | BackupAbandoned() if event.backup_id in attempts.ended:
            pass  # the first end counts
        case BackupAbandoned():
            attempts.abandoned[event.backup_id] = max(event.request, attempts.abandoned.get(event.backup_id, 0))
        case AttemptEvent() if event.attempt < attempts.next_attempt(event.backup_id) - 1:
            pass  # of a worker that was thought dead
        case BackupStarted() if event.attempt >= attempts.next_attempt(event.backup_id):
            # of two workers that begin the same attempt, the first one has it
            attempts.begun[event.backup_id] = Attempt(number=event.attempt, worker=event.worker, sequence=sequence)
        case BackupRetrying():
            if attempt := attempts.begun.get(event.backup_id):
                attempts.begun[event.backup_id] = Attempt(
                    number=attempt.number, worker=attempt.worker, sequence=attempt.sequence, over=True
                )
        case BackupCompleted():
            _end(attempts, event.backup_id, sequence, event.snapshot_ref)
        case BackupFailed() | BackupCancelled() | BackupSkipped():
            _end(attempts, event.backup_id, sequence)
        case _:
            pass
    return attempts


def _end(attempts: Attempts, backup_id: str, sequence: int, snapshot_ref: str | None = None) -> None:
    begun = attempts.next_attempt(backup_id) - 1
    attempts.begun.pop(backup_id, None)
    attempts.abandoned.pop(backup_id, None)
    attempts.ended[backup_id] = End(sequence=sequence, begun=begun, snapshot_ref=snapshot_ref)
    if len(attempts.ended) > REMEMBERED:
        forgotten = attempts.ended.pop(next(iter(attempts.ended)))
        attempts.since = max(attempts.since, forgotten.sequence)
