"""What a worker knows of backups, from the log."""

from __future__ import annotations

import pytest

from schemas.events import BackupCompleted, BackupRetrying, BackupStarted
from services.worker import domain
from services.worker.domain import Attempts, evolve

ABOUT = {"flow_id": "f", "execution_id": "e", "context_id": "v"}


def started(backup: str, attempt: int = 1) -> BackupStarted:
    return BackupStarted(**ABOUT, backup_id=backup, attempt=attempt, worker="w")


def completed(backup: str, attempt: int = 1) -> BackupCompleted:
    return BackupCompleted(
        **ABOUT, backup_id=backup, attempt=attempt, bytes_read=0, bytes_transferred=0, snapshot_ref="there"
    )


def test_attempts_are_counted_by_what_was_begun() -> None:
    attempts = Attempts()
    evolve(attempts, started("a"), 1)
    evolve(attempts, BackupRetrying(**ABOUT, backup_id="a", attempt=1, error="x", delay_seconds=1), 2)
    evolve(attempts, started("a", 2), 3)
    evolve(attempts, started("a", 1), 4)
    assert (attempts.begun["a"].number, attempts.begun["a"].worker) == (2, "w")
    assert attempts.ended == {}
    assert not attempts.lost("a", 2, "w")
    assert attempts.lost("a", 1, "w")
    assert attempts.lost("a", 2, "another")
    evolve(attempts, completed("a"), 5)  # of the first attempt: a worker that was thought dead
    assert attempts.ended == {}
    evolve(attempts, completed("a", 2), 6)
    evolve(attempts, completed("a", 2), 7)
    assert {backup: end.sequence for backup, end in attempts.ended.items()} == {"a": 6}
    assert attempts.lost("a", 2, "w")


def test_what_is_forgotten_is_known_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "REMEMBERED", 2)
    attempts = Attempts(since=3)
    for sequence, backup in enumerate("abc", start=10):
        evolve(attempts, started(backup), sequence)
    for sequence, backup in enumerate("abc", start=20):
        evolve(attempts, completed(backup), sequence)
    assert set(attempts.ended) == {"b", "c"}
    assert attempts.since == 20
