"""What a worker knows of backups, from the log."""

from __future__ import annotations

import pytest

from schemas.events import BackupCompleted, BackupFailed, BackupRetrying, BackupSkipped, BackupStarted
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


def retrying(backup: str, attempt: int = 1) -> BackupRetrying:
    return BackupRetrying(**ABOUT, backup_id=backup, attempt=attempt, error="x", delay_seconds=1)


def test_an_attempt_that_is_to_be_repeated_is_nobodys() -> None:
    attempts = evolve(Attempts(), started("a"), 1)
    assert not attempts.begun["a"].over
    evolve(attempts, retrying("a"), 2)
    assert attempts.begun["a"].over
    assert not attempts.lost("a", 1, "w")  # it may answer its message
    evolve(attempts, started("a", 2), 3)
    evolve(attempts, retrying("a"), 4)  # late, of the first one
    assert not attempts.begun["a"].over


def test_of_two_workers_that_begin_the_same_attempt_the_first_has_it() -> None:
    attempts = evolve(Attempts(), started("a"), 1)
    rival = BackupStarted(**ABOUT, backup_id="a", attempt=1, worker="rival")
    evolve(attempts, rival, 2)
    assert attempts.lost("a", 1, "rival")
    assert not attempts.lost("a", 1, "w")


def test_the_end_that_counts_says_what_may_be_left_behind() -> None:
    attempts = Attempts()
    evolve(attempts, BackupSkipped(**ABOUT, backup_id="never begun", reason="x"), 1)
    for sequence, backup in enumerate(("done", "failed"), start=2):
        evolve(attempts, started(backup), sequence)
    evolve(attempts, completed("done"), 4)
    evolve(attempts, BackupFailed(**ABOUT, backup_id="failed", attempt=1, error="x"), 5)
    evolve(attempts, completed("failed"), 6)  # the first end counts
    evolve(attempts, started("failed", 2), 7)
    assert [(end.begun, end.snapshot_ref) for end in attempts.ended.values()] == [(0, None), (1, "there"), (1, None)]
    assert attempts.begun == {}


def test_what_has_begun_or_ended_since_is_known_whenever_it_was_requested() -> None:
    attempts = Attempts(since=100)
    assert attempts.knows("a", 101)
    assert not attempts.knows("a", 100)
    evolve(attempts, started("a", 2), 102)
    assert attempts.knows("a", 100)
    evolve(attempts, completed("a", 2), 103)
    assert attempts.knows("a", 100)
