"""What waits, and for what: for its turn, for a slot, or for a worker."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins
from msgspec.structs import replace

from api.readmodel import executions, flows, queue
from api.readmodel.executions import ExecutionFilter
from api.readmodel.reader import Page, Reader
from api.routes.starting import in_words
from api.workers import living
from bus.checkpoint import Status
from bus.errors import Unavailable
from schemas.base import Message
from schemas.events import BackupRetrying, BackupStarted, PlannedBackup
from schemas.ids import instant
from services import database
from services.recorder.store import Tables
from services.worker.status import WorkerStatus
from tests.services.execution import ABOUT, BUFFERED, COMPLETED, DONE, HOUSE, PLANNED, REQUESTED, SKIPPED, STARTED
from tests.services.execution import STREAM as LOG
from tests.support import T0, history

NOBODY: list[WorkerStatus] = []
BEGUN = BackupStarted(**ABOUT, attempt=1, worker="w")
TWO = replace(PLANNED, backups=[*PLANNED.backups, PlannedBackup(backup_id="c", context_id="vm-2", vm_name="db")])


def worker(
    slots: int = 1, holding: Sequence[str] = (), engines: Sequence[str] = ("simulated",), **given: Any
) -> WorkerStatus:
    return WorkerStatus(slots=slots, holding=list(holding), engines=list(engines), position=0, **given)


class Told:
    """The read model of a log that is told."""

    def __init__(self, file: Path) -> None:
        self._tables = Tables(database.sqlite_url(file))
        self._engine = database.reader(database.sqlite_url(file))
        self.reader = Reader(self._engine)
        self.number = 0

    async def tell(self, *messages: Message) -> None:
        await self._tables.apply(history(*messages, start=self.number + 1), LOG)
        self.number += len(messages)

    async def close(self) -> None:
        await self._tables.close()
        await self._engine.dispose()


@pytest.fixture
async def told(tmp_path: Path, empty_tables: Path) -> AsyncIterator[Told]:
    told = Told(Path(shutil.copy(empty_tables, tmp_path / "flows.db")))
    yield told
    await told.close()


async def test_a_backup_that_waits_for_a_worker_is_waiting_and_not_running(told: Told) -> None:
    await told.tell(*HOUSE, STARTED, PLANNED, REQUESTED)
    found = await queue.current(told.reader, NOBODY)
    assert found.running == []
    assert [(one.backup_id, one.status, one.waiting_for) for one in found.waiting] == [
        ("b", "queued", "a worker: none is there")
    ]
    assert found.workers is not None
    assert (found.workers.number, found.workers.slots, found.workers.free_slots) == (0, 0, 0)
    await told.tell(BEGUN)
    found = await queue.current(told.reader, [worker(holding=["b"])])
    assert found.waiting == []
    assert [(one.backup_id, one.status) for one in found.running] == [("b", "running")]
    await told.tell(BackupRetrying(**ABOUT, attempt=1, error="broken", delay_seconds=9))
    found = await queue.current(told.reader, [worker()])
    assert found.running == []
    assert [(one.attempt, one.waiting_for) for one in found.waiting] == [(1, "its next attempt, as attempt 1 failed")]


async def test_a_backup_that_waits_for_a_worker_takes_its_slot(told: Told) -> None:
    await told.tell(*HOUSE, replace(STARTED, max_concurrent_jobs=1, jobs=2), TWO, REQUESTED)
    found = await queue.current(told.reader, [worker()])
    assert [(one.backup_id, one.waiting_for) for one in found.waiting] == [
        ("b", "a worker: it is next"),
        ("c", "a slot of its flow: 1 of 1 are taken"),
    ]


@pytest.mark.parametrize(
    ("workers", "waiting_for"),
    [
        (None, "a worker; which are there cannot be seen, as the log does not respond"),
        ([], "a worker: none is there"),
        ([worker(engines=["restic"])], "a worker with engine 'simulated': the one that is there does not have it"),
        ([worker(engines=["restic"])] * 2, "a worker with engine 'simulated': none of 2 has it"),
        ([worker(1, ["x"])], "a worker with a free slot: 1 of 1 is taken"),
        ([worker(2, ["x", "y"]), worker(1, ["z"])], "a worker with a free slot: 3 of 3 are taken"),
        ([worker(2, ["x", "y"]), worker(9, engines=["restic"])], "a worker with a free slot: 2 of 2 are taken"),
        ([worker(2, ["x"])], "a worker: it is next"),
    ],
)
def test_what_a_backup_with_a_slot_waits_for(workers: list[WorkerStatus] | None, waiting_for: str) -> None:
    assert queue.for_worker("simulated", 0, workers) == waiting_for


@pytest.mark.parametrize(
    ("workers", "waiting_for"),
    [
        (NOBODY, "a worker: there is no worker for site=a"),
        ([worker(), worker(labels={"site": "b"})], "a worker: there is no worker for site=a"),
        (
            [worker(engines=["restic"], labels={"site": "a"}), worker()],
            "a worker with engine 'simulated' and site=a: the one that is there does not have it",
        ),
        (
            [worker(1, ["x"], labels={"site": "a"}), worker(9)],
            "a worker with a free slot and site=a: 1 of 1 is taken",
        ),
        ([worker(labels={"site": "a", "tier": "fast"})], "a worker: it is next"),
    ],
)
async def test_a_backup_that_requires_labels_waits_for_a_worker_that_has_them(
    told: Told, workers: list[WorkerStatus], waiting_for: str
) -> None:
    await told.tell(*HOUSE, STARTED, PLANNED, replace(REQUESTED, pool="p", worker_labels={"site": "a"}))
    (waiting,) = (await queue.current(told.reader, workers)).waiting
    assert (waiting.worker_labels, waiting.waiting_for) == ({"site": "a"}, waiting_for)


async def test_an_execution_that_waits_for_its_turn_stands_in_the_queue_the_flow_and_the_list(told: Told) -> None:
    await told.tell(*HOUSE, STARTED, PLANNED, REQUESTED, BEGUN, BUFFERED)
    (running,) = (await executions.find(told.reader, ExecutionFilter(status="running"), Page())).executions
    assert running.started_at is not None
    began = instant(running.started_at)
    waiting_for = f"execution x of this flow, which began at {began}, to end"
    (mine,) = (await queue.current(told.reader, NOBODY)).pending
    assert (mine.execution_id, mine.flow_id, mine.flow_name, mine.priority) == ("y", "flow-1", "flow-1", 3)
    assert (mine.execution_type, mine.triggered_by, mine.waiting_for) == ("manual", "eve", waiting_for)
    listed = await executions.find(told.reader, ExecutionFilter(status="pending"), Page())
    assert [(one.id, one.status, one.started_at, one.waiting_for) for one in listed.executions] == [
        ("y", "pending", None, waiting_for)
    ]
    newest_first = await executions.find(told.reader, ExecutionFilter(), Page())
    assert [one.id for one in newest_first.executions] == ["y", "x"]
    now = await flows.at_present(told.reader, "flow-1", T0, 10)
    assert now is not None
    assert ([one.id for one in now.running_executions], [one.id for one in now.pending_executions]) == (["x"], ["y"])
    assert now.last_execution is not None
    assert now.last_execution.id == "x"
    assert await executions.running_by_flow(told.reader, ["flow-1"]) == {"flow-1": "x"}
    await told.tell(DONE, COMPLETED)
    (mine,) = (await queue.current(told.reader, NOBODY)).pending
    assert mine.waiting_for == "the executor: it is next"
    await told.tell(SKIPPED)
    assert (await queue.current(told.reader, NOBODY)).pending == []
    found = await executions.one(told.reader, "y")
    assert found is not None
    assert (found.status, found.error_message, found.execution_time_seconds) == ("cancelled", "busy", None)


async def test_an_execution_counts_what_waits_and_what_runs_apart(told: Told) -> None:
    async def counts() -> tuple[int, int, int, int]:
        found = await executions.one(told.reader, "x")
        assert found is not None
        return found.jobs_pending, found.jobs_queued, found.jobs_running, found.jobs_completed

    await told.tell(*HOUSE, replace(STARTED, jobs=2), TWO)
    assert await counts() == (2, 0, 0, 0)
    await told.tell(REQUESTED)
    assert await counts() == (1, 1, 0, 0)
    await told.tell(BEGUN)
    assert await counts() == (1, 0, 1, 0)
    await told.tell(replace(DONE, attempt=1))
    assert await counts() == (1, 0, 0, 1)


@pytest.mark.parametrize(
    ("told_so_far", "message"),
    [
        ([replace(STARTED, jobs=2), TWO, REQUESTED], "1 backup waits for a worker, 1 backup waits for a slot"),
        ([replace(STARTED, jobs=2), TWO], "2 backups wait for a slot"),
        ([replace(STARTED, jobs=2), TWO, REQUESTED, BEGUN], "started 1 backup, 1 backup waits for a slot"),
        ([STARTED, PLANNED, REQUESTED, BEGUN], "started 1 backup"),
        ([STARTED, PLANNED, REQUESTED, BEGUN, DONE, COMPLETED], "started 1 backup"),
        ([replace(STARTED, jobs=0), replace(PLANNED, backups=[])], "nothing to back up"),
    ],
)
async def test_started_backups_are_those_that_have_started(told: Told, told_so_far: list[Any], message: str) -> None:
    await told.tell(*HOUSE, *told_so_far)
    found = await executions.one(told.reader, "x")
    assert found is not None
    assert in_words(found) == message


class Beside:
    """What workers have published beside the log, or a log that does not respond."""

    def __init__(self, *workers: WorkerStatus, silent: timedelta = timedelta(0), down: bool = False) -> None:
        self._found = {
            f"worker.{number}": Status(value=to_builtins(one), at=T0 - silent) for number, one in enumerate(workers)
        }
        self._down = down

    async def statuses(self, prefix: str) -> dict[str, Status]:
        assert prefix == "worker."
        if self._down:
            raise Unavailable("the log does not respond")
        return self._found

    async def time(self) -> datetime:
        return T0


@pytest.mark.parametrize(
    ("log", "number"),
    [
        (Beside(worker(2), worker(3)), 2),
        (Beside(worker(2), silent=timedelta(seconds=31)), 0),
        (Beside(worker(2), worker(0)), 1),  # one that is to end takes nothing more
        (Beside(down=True), None),
    ],
    ids=["two", "silent", "one ends", "no log"],
)
async def test_the_workers_that_are_there(log: Any, number: int | None) -> None:
    found = await living(log)
    assert (None if found is None else len(found)) == number


async def test_the_length_of_the_queue_is_told_by_what_is_waited_for(told: Told) -> None:
    await told.tell(*HOUSE, replace(STARTED, max_concurrent_jobs=1, jobs=2), TWO)
    load = await queue.load(told.reader, NOBODY)
    assert (+load.waiting, load.taken.total) == ({"executor": 2}, 0)
    await told.tell(REQUESTED, BUFFERED)
    load = await queue.load(told.reader, NOBODY)
    assert (+load.waiting, load.taken.total) == ({"worker": 1, "flow": 1, "turn": 1}, 1)
    await told.tell(BEGUN)
    load = await queue.load(told.reader, NOBODY)
    assert (+load.waiting, load.taken.total) == ({"flow": 1, "turn": 1}, 1)


async def test_what_is_beyond_those_looked_at_is_counted_too(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MOST", 1)
    await told.tell(*HOUSE, replace(STARTED, jobs=2), TWO)
    load = await queue.load(told.reader, NOBODY)
    assert +load.waiting == {"executor": 1, "others": 1}
