"""What the log says of each backup: how often it was begun, whether it has ended, whether it is to stop. Pure.

A queue's own count of deliveries is no such record: a server that was killed begins to count anew.
"""

from __future__ import annotations

from schemas.events import (
    AttemptEvent,
    BackupCancelled,
    BackupCompleted,
    BackupFailed,
    BackupRequested,
    BackupStarted,
    FlowCancelling,
    FlowCompleted,
)

REMEMBERED = 100_000  # ended backups


class Attempts:
    """Attempts by backup. `evolve` changes it in place. Of requests up to `since` on the log it may not know all."""

    def __init__(self, since: int = 0) -> None:
        self.since = since
        self.begun: dict[str, int] = {}  # by backup: the last attempt
        self.ended: dict[str, int] = {}  # by backup: where on the log, oldest first
        self.stopped: dict[tuple[str, str | None], str] = {}  # by execution, and VM (None: all of them): why

    def stop_reason(self, request: BackupRequested) -> str | None:
        """Return why a backup is to stop, None when it is not."""
        whole = self.stopped.get((request.execution_id, None))
        return whole or self.stopped.get((request.execution_id, request.context_id))


def evolve(attempts: Attempts, event: AttemptEvent | FlowCancelling | FlowCompleted, sequence: int) -> Attempts:
    """Take in one report of a worker, or the executor's word that an execution is to stop, or has ended."""
    match event:
        case FlowCancelling():
            attempts.stopped[event.execution_id, event.context_id] = event.reason
        case FlowCompleted():
            for key in [key for key in attempts.stopped if key[0] == event.execution_id]:
                del attempts.stopped[key]
        case BackupStarted():
            attempts.begun[event.backup_id] = max(event.attempt, attempts.begun.get(event.backup_id, 0))
        case BackupCompleted() | BackupFailed() | BackupCancelled():
            attempts.ended.setdefault(event.backup_id, sequence)
            if len(attempts.ended) > REMEMBERED:
                forgotten = next(iter(attempts.ended))
                attempts.since = max(attempts.since, attempts.ended.pop(forgotten))
                attempts.begun.pop(forgotten, None)
        case _:
            pass
    return attempts
