"""Nothing partial stays in a repository, whatever became of the attempt that left it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schemas.base import Message
from schemas.definitions import Disk
from schemas.events import (
    BackupCompleted,
    BackupFailed,
    BackupRequested,
    BackupRetrying,
    BackupSkipped,
    FlowCancelling,
)
from services.worker.app import Worker
from services.worker.engines.directory.engine import DirectoryEngine
from tests.services.conftest import Engine
from tests.services.worker.support import (
    ABOUT,
    Observed,
    acknowledged,
    lease,
    request,
    say,
    started,
)
from tests.support import eventually

__all__ = ["lease"]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "repository").mkdir()
    file = tmp_path / "disk.raw"
    file.write_bytes(b"x" * 100_000)
    return file


def of_disk(disk: Path, **given: Any) -> BackupRequested:
    return request(
        engine="directory",
        location=str(disk.parent / "repository"),
        disks=[Disk(disk_id="d", path=str(disk))],
        **given,
    )


def left_behind(disk: Path, *names: str) -> Path:
    """Make what an attempt of a worker that died has left in the VM's folder, and return the repository's folder."""
    repository = disk.parent / "repository"
    for name in names:
        (repository / "vm" / name).mkdir(parents=True)
        (repository / "vm" / name / "d.zst").write_bytes(b"half")
    return repository


UNFINISHED = ".partial-backup-1-1"


FINISHED = "20261101T120000Z-backup-1"


async def directory_worker(engine: Engine, sequence: int) -> None:
    async with engine.running(Worker(engines={"directory": DirectoryEngine()}, worker_id="one")):
        await acknowledged(engine, sequence)


async def test_what_a_dead_worker_left_goes_when_the_execution_is_cancelled(engine: Engine, disk: Path) -> None:
    repository = left_behind(disk, UNFINISHED)
    sequence = await say(engine.log, of_disk(disk))
    cancelling = FlowCancelling(flow_id="flow", execution_id="execution", context_id=None, reason="cancelled by eve")
    await say(engine.log, started(1, "dead"), cancelling)
    await directory_worker(engine, sequence)
    assert len(await engine.messages("backup.cancelled.>")) == 1
    assert list(repository.iterdir()) == []


@pytest.mark.parametrize(
    "end",
    [
        BackupFailed(**ABOUT, attempt=1, error="its worker has not answered"),
        BackupSkipped(**ABOUT, reason="cancelled by eve"),
    ],
    ids=["failed", "skipped"],
)
async def test_finished_folders_of_what_the_executor_closed_do_not_stay(
    engine: Engine, disk: Path, end: Message
) -> None:
    repository = left_behind(disk, UNFINISHED, FINISHED, "20261101T120000Z-another")
    sequence = await say(engine.log, of_disk(disk))
    await say(engine.log, started(1, "dead"), end)
    await directory_worker(engine, sequence)
    assert [path.name for path in (repository / "vm").iterdir()] == ["20261101T120000Z-another"]


async def test_a_success_that_does_not_count_does_not_stay(engine: Engine, disk: Path) -> None:
    """The executor closes the backup in the moment in which the worker reports its success."""
    worker = Observed(engines={"directory": DirectoryEngine()}, worker_id="one")
    worker.before[BackupCompleted] = [BackupSkipped(**ABOUT, reason="cancelled by eve")]
    worker.through = engine.log
    async with engine.running(worker):
        sequence = await say(engine.log, of_disk(disk))
        await eventually(lambda: len(worker.deliveries) == 2)  # it was left alone, and came again
        await acknowledged(engine, sequence)
    assert await engine.messages("backup.completed.>") == []
    assert list((disk.parent / "repository").iterdir()) == []


async def test_a_lost_attempt_does_not_touch_the_success_that_counts(engine: Engine, disk: Path) -> None:
    """What the first attempt published, the second one has taken over: the first one's worker comes late."""
    repository = disk.parent / "repository"
    final = repository / "vm" / FINISHED
    worker = Observed(engines={"directory": DirectoryEngine()}, worker_id="one")
    done = BackupCompleted(**ABOUT, attempt=2, bytes_read=1, bytes_transferred=1, snapshot_ref=str(final))
    worker.before[BackupCompleted] = [started(2, "two"), done]
    async with engine.running(worker):
        sequence = await say(engine.log, of_disk(disk))
        await engine.until("backup.completed.>")
        await acknowledged(engine, sequence)
    assert (final / "manifest.json").exists()
    assert [path.name for path in (repository / "vm").iterdir()] == [FINISHED]


async def test_an_attempt_to_be_retried_keeps_what_the_next_one_takes_over(engine: Engine, disk: Path) -> None:
    repository = disk.parent / "repository"
    worker = Observed(engines={"directory": DirectoryEngine()}, worker_id="one")
    await say(engine.log, of_disk(disk, retry_attempts=1), started(1, "dead"))
    await say(engine.log, BackupRetrying(**ABOUT, attempt=1, error="report lost", delay_seconds=1))
    await DirectoryEngine().backup(of_disk(disk), 1, lambda _: None)
    before = (repository / "vm" / FINISHED / "manifest.json").read_bytes()
    async with engine.running(worker):
        (done,) = await engine.until("backup.completed.>")
    assert (done.attempt, done.snapshot_ref) == (2, str(repository / "vm" / FINISHED))
    assert (repository / "vm" / FINISHED / "manifest.json").read_bytes() == before
