"""What a worker knows of a backup, from the log."""

from __future__ import annotations

from schemas.events import (
    BackupCancelled,
    BackupCompleted,
    BackupFailed,
    BackupRetrying,
    BackupSkipped,
    BackupStarted,
)
from services.worker.domain import Backup, Report, evolve

ABOUT = {"flow_id": "f", "execution_id": "e", "context_id": "v", "backup_id": "b"}


def started(attempt: int = 1, worker: str = "w") -> BackupStarted:
    return BackupStarted(**ABOUT, attempt=attempt, worker=worker)


def completed(attempt: int = 1) -> BackupCompleted:
    return BackupCompleted(**ABOUT, attempt=attempt, bytes_read=0, bytes_transferred=0, snapshot_ref="there")


def retrying(attempt: int = 1) -> BackupRetrying:
    return BackupRetrying(**ABOUT, attempt=attempt, error="x", delay_seconds=1)


def failed(attempt: int = 1) -> BackupFailed:
    return BackupFailed(**ABOUT, attempt=attempt, error="x")


def told(*reports: Report, source: str = "worker/w") -> Backup:
    """Return a backup of which this was reported, from sequence 1 on."""
    backup = Backup()
    for sequence, report in enumerate(reports, start=1):
        backup = evolve(backup, report, sequence, source)
    return backup


def test_attempts_are_counted_by_what_was_begun() -> None:
    so_far = (started(), retrying(), started(2), started(1))
    backup = told(*so_far)
    assert backup.attempt is not None
    assert (backup.attempt.number, backup.attempt.worker, backup.attempt.sequence) == (2, "w", 3)
    assert backup.end is None
    assert not backup.lost(2, "w")
    assert backup.lost(1, "w")
    assert backup.lost(2, "another")
    assert told(*so_far, completed(1)).end is None  # of the first attempt: a worker that was thought dead
    ended = told(*so_far, completed(1), completed(2), completed(2))
    assert ended.end is not None
    assert ended.end.sequence == 6
    assert ended.lost(2, "w")


def test_an_attempt_that_is_to_be_repeated_is_nobodys() -> None:
    backup = told(started())
    assert backup.attempt is not None
    assert not backup.attempt.over
    backup = told(started(), retrying())
    assert backup.attempt is not None
    assert backup.attempt.over
    assert not backup.lost(1, "w")  # it may answer its message
    backup = told(started(), retrying(), started(2), retrying(1))  # late, of the first one
    assert backup.attempt is not None
    assert not backup.attempt.over


def test_of_two_workers_that_begin_the_same_attempt_the_first_has_it() -> None:
    backup = told(started(), started(worker="rival"))
    assert backup.lost(1, "rival")
    assert not backup.lost(1, "w")


def test_the_end_that_counts_says_what_may_be_left_behind() -> None:
    never = told(BackupSkipped(**ABOUT, reason="x"), started()).end
    done = told(started(), completed(), failed()).end
    lost = told(started(), failed(), completed(), started(2)).end  # the first end counts
    assert never is not None
    assert done is not None
    assert lost is not None
    assert [(end.begun, end.snapshot_ref) for end in (never, done, lost)] == [(0, None), (1, "there"), (1, None)]


def test_an_outcome_is_there_when_it_is_its_own_worker_that_has_reported_it() -> None:
    """What a worker appended without a reply is found again, and not taken for another one's."""
    mine = "worker/w"
    assert told(started(), completed()).holds(completed(), mine, "w")
    assert told(started(), retrying()).holds(retrying(), mine, "w")
    assert not told(started()).holds(completed(), mine, "w")
    assert not told(started()).holds(retrying(), mine, "w")
    assert not told(started(), retrying(), started(2)).holds(retrying(), mine, "w")
    assert not told(started(), completed(), source="worker/rival").holds(completed(), mine, "w")
    closed = BackupCancelled(**ABOUT, attempt=1, reason="x")
    assert not told(started(), closed, source="executor").holds(completed(), mine, "w")
    assert not told(started(), started(2), completed(2)).holds(completed(1), mine, "w")
