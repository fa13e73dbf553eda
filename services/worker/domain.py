"""What the log says of each backup: who began it last, whether it has ended, whether it is to stop. Pure.

A queue's own count of deliveries is no such record: a server that was killed begins to count anew.
"""

from __future__ import annotations

from schemas.events import (
    AttemptEvent,
    BackupCancelled,
    BackupCompleted,
    BackupFailed,
    BackupRequested,
    BackupSkipped,
    BackupStarted,
    FlowCancelling,
    FlowCompleted,
)

Report = AttemptEvent | BackupSkipped | FlowCancelling | FlowCompleted

REMEMBERED = 100_000  # ended backups


class Attempts:
    """Attempts by backup. `evolve` changes it in place. Of requests up to `since` on the log it may not know all."""

    def __init__(self, since: int = 0) -> None:
        self.since = since
        self.begun: dict[str, tuple[int, str]] = {}  # by backup: the last attempt, and the worker that makes it
        self.ended: dict[str, int] = {}  # by backup: where on the log, oldest first
        self.stopped: dict[tuple[str, str | None], str] = {}  # by execution, and VM (None: all of them): why

    def stop_reason(self, request: BackupRequested) -> str | None:
        """Return why a backup is to stop, None when it is not."""
        whole = self.stopped.get((request.execution_id, None))
        return whole or self.stopped.get((request.execution_id, request.context_id))

    def next_attempt(self, backup_id: str) -> int:
        """Return the number of the attempt that is to be made now."""
        return self.begun.get(backup_id, (0, ""))[0] + 1

    def lost(self, backup_id: str, attempt: int, worker: str) -> bool:
        """Tell whether an attempt no longer counts: the backup has ended, or another worker makes a newer attempt."""
        return backup_id in self.ended or self.begun.get(backup_id) != (attempt, worker)


def evolve(attempts: Attempts, event: Report, sequence: int) -> Attempts:
    """Take in one report of a worker, or the executor's word that an execution is to stop, or has ended."""
    match event:
        case FlowCancelling():
            attempts.stopped[event.execution_id, event.context_id] = event.reason
        case FlowCompleted():
            for key in [key for key in attempts.stopped if key[0] == event.execution_id]:
                del attempts.stopped[key]
        case BackupStarted():
            if event.attempt >= attempts.next_attempt(event.backup_id):  # of two workers, the first one has it
                attempts.begun[event.backup_id] = (event.attempt, event.worker)
        case BackupCompleted() | BackupFailed() | BackupCancelled() | BackupSkipped():
            current = attempts.next_attempt(event.backup_id) - 1
            if isinstance(event, AttemptEvent) and event.attempt < current:
                return attempts  # a worker that was thought dead: the newer attempt's end counts
            attempts.ended.setdefault(event.backup_id, sequence)
            if len(attempts.ended) > REMEMBERED:
                forgotten = next(iter(attempts.ended))
                attempts.since = max(attempts.since, attempts.ended.pop(forgotten))
                attempts.begun.pop(forgotten, None)
        case _:
            pass
    return attempts
