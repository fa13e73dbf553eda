"""What the log says of each backup: how often it was begun, and whether it has ended. Pure.

A queue's own count of deliveries is no such record: a server that was killed begins to count anew.
"""

from __future__ import annotations

from schemas.events import AttemptEvent, BackupCancelled, BackupCompleted, BackupFailed, BackupStarted

REMEMBERED = 100_000  # ended backups


class Attempts:
    """Attempts by backup. `evolve` changes it in place. Of requests up to `since` on the log it may not know all."""

    def __init__(self, since: int = 0) -> None:
        self.since = since
        self.begun: dict[str, int] = {}  # by backup: the last attempt
        self.ended: dict[str, int] = {}  # by backup: where on the log, oldest first


def evolve(attempts: Attempts, event: AttemptEvent, sequence: int) -> Attempts:
    """Take in one report of a worker."""
    match event:
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
