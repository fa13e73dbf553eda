"""The worker on a real server: an attempt owns its messages, and nothing partial stays. The lease is two seconds."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from bus import stream
from bus.checkpoint import Checkpoint, Status
from bus.clock import now
from bus.connection import connect
from bus.log import Log
from bus.stream import WORKER_QUEUE
from bus.subjects import STREAM
from bus.tasks import cancel_and_wait
from schemas.base import Message
from schemas.definitions import Disk
from schemas.events import (
    AttemptEvent,
    BackupCompleted,
    BackupFailed,
    BackupRequested,
    BackupRetrying,
    BackupSkipped,
    BackupStarted,
    FlowCancelling,
)
from services import consuming
from services.consuming import Delivery, Outcome
from services.hosting import Subscribe
from services.worker import app, presence
from services.worker.app import Worker
from services.worker.engines.directory.engine import DirectoryEngine
from services.worker.engines.engine import BackupError, Report, Result
from services.worker.history import History
from services.worker.run import Run
from services.worker.status import key_of
from tests.services.conftest import Engine
from tests.support import T0, eventually, sent

LEASE = 2.0


@pytest.fixture(autouse=True)
def lease(monkeypatch: pytest.MonkeyPatch) -> None:
    short = structs.replace(WORKER_QUEUE, ack_wait=LEASE)
    monkeypatch.setattr(stream, "WORKER_QUEUE", short)
    monkeypatch.setattr(app, "WORKER_QUEUE", short)
    monkeypatch.setattr(presence, "STATUS_PAUSE", 0.1)


class Gate:
    """An engine that works until the gate is opened, and counts who is at work."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun: list[int] = []
        self.at_work: Counter[str] = Counter()
        self.most = 0
        self.discarded: list[tuple[str, str | None]] = []

    async def backup(self, request: BackupRequested, attempt: int, report: Report) -> Result:
        self.begun.append(attempt)
        self.at_work[request.backup_id] += 1
        self.most = max(self.most, self.at_work[request.backup_id])
        try:
            await self.open.wait()
        finally:
            self.at_work[request.backup_id] -= 1
        return Result(bytes_read=1, bytes_transferred=1, snapshot_ref=f"gate:{attempt}")

    async def discard(self, request: BackupRequested, *, keep: str | None) -> None:
        self.discarded.append((request.backup_id, keep))


class Observed(Worker):
    """A worker whose deliveries a test can see, and before whose reports it can say something."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.deliveries: list[Delivery] = []
        self.before: dict[type[Message], list[Message]] = {}

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        await super().open(log, subscribe)
        report = self._reports.report

        async def observed(run: Run, event: AttemptEvent) -> int:
            for message in self.before.pop(type(event), []):
                await say(log, message)
            return await report(run, event)

        self._reports.report = observed  # type: ignore[method-assign]

    async def handle(self, delivery: Delivery) -> Outcome:
        self.deliveries.append(delivery)
        return await super().handle(delivery)


ABOUT: dict[str, Any] = {"flow_id": "flow", "execution_id": "execution", "backup_id": "backup-1", "context_id": "vm"}
_said = count()


async def say(log: Log, *messages: Message) -> int:
    last = 0
    for message in messages:
        last = await log.publish_once(sent(message, id=f"said-{next(_said)}", time=now()))
    return last


def request(**given: Any) -> BackupRequested:
    fields = {
        **ABOUT,
        "vm_name": "vm",
        "disks": [],
        "repository_id": "repository",
        "engine": "simulated",
        "location": "/x",
        "config": {},
        "backup_type": "auto",
        "retry_attempts": 0,
        "retry_delay_seconds": 1,
        "timeout_seconds": None,
        "requested_at": T0,
        **given,
    }
    return BackupRequested(**fields)


def started(attempt: int, worker: str) -> BackupStarted:
    return BackupStarted(**ABOUT, attempt=attempt, worker=worker)


def claim(*holding: str, position: int = 10**9) -> dict[str, Any]:
    return {"slots": 1, "holding": list(holding), "engines": ["simulated"], "position": position}


@contextlib.asynccontextmanager
async def living(engine: Engine, worker: str, *holding: str) -> AsyncIterator[None]:
    """Another worker, as far as notes say."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(LEASE / 8)
            await engine.log.put_status(key_of(worker), claim(*holding))

    await engine.log.put_status(key_of(worker), claim(*holding))
    task = asyncio.create_task(renew())
    try:
        yield
    finally:
        await cancel_and_wait(task)


async def acknowledged(engine: Engine, sequence: int) -> None:
    async def there() -> bool:
        return await engine.log.acknowledged(WORKER_QUEUE) >= sequence

    await eventually(there, why=f"request {sequence} to be acknowledged")


async def test_a_message_comes_once_when_its_backup_is_done(engine: Engine) -> None:
    """It is acknowledged by whoever has done it, and does not come again to find that it has ended."""
    gate = Gate()
    gate.open.set()
    worker = Observed(engines={"simulated": gate}, worker_id="one")
    async with engine.running(worker):
        last = 0
        for number in range(12):
            last = await say(engine.log, request(backup_id=f"backup-{number}"))
        await engine.until("backup.completed.*", 12)
        await eventually(lambda: not worker._held)
        await acknowledged(engine, last)
    assert [(delivery.entry.sequence, delivery.number) for delivery in worker.deliveries] == [
        (entry.sequence, 1) for entry in await engine.log.read(["backup.requested.*"])
    ]


async def test_a_redelivery_to_the_worker_at_work_begins_no_second_attempt(engine: Engine) -> None:
    gate = Gate()
    worker = Observed(engines={"simulated": gate}, worker_id="one")
    async with engine.running(worker):
        sequence = await say(engine.log, request())
        await eventually(lambda: gate.begun)
        for again in (2, 3):
            raw = worker.deliveries[-1].message.raw_message
            await engine.log._client.publish(raw.reply, b"-NAK")  # the server takes it for whoever has the message
            await eventually(lambda again=again: len(worker.deliveries) == again)  # type: ignore[misc]
        # a second request of the same backup
        second = await say(engine.log, request(round=2))
        await eventually(lambda: len(worker.deliveries) == 4)
        gate.open.set()
        await engine.until("backup.completed.*")
        await acknowledged(engine, max(sequence, second))
    assert (gate.begun, gate.most) == ([1], 1)
    assert [begun.attempt for begun in await engine.messages("backup.started.*")] == [1]
    (done,) = await engine.messages("backup.completed.*")
    assert done.attempt == 1


async def test_a_taken_over_delivery_gets_the_signs_of_life(engine: Engine) -> None:
    gate = Gate()
    worker = Observed(engines={"simulated": gate}, worker_id="one")
    async with engine.running(worker):
        await say(engine.log, request())
        await eventually(lambda: gate.begun)
        raw = worker.deliveries[0].message.raw_message
        await engine.log._client.publish(raw.reply, b"-NAK")
        await eventually(lambda: len(worker.deliveries) == 2)
        taken = asyncio.get_running_loop().time()
        # two leases long: without a sign of life it would come a third time
        await eventually(lambda: asyncio.get_running_loop().time() > taken + 2 * LEASE)
        assert len(worker.deliveries) == 2
        gate.open.set()
        await engine.until("backup.completed.*")


async def test_a_stale_report_is_not_acknowledged(engine: Engine) -> None:
    """A newer attempt begins in the moment in which the older one reports its end: the message is the newer one's."""
    gate = Gate()
    gate.open.set()
    worker = Observed(engines={"simulated": gate}, worker_id="one")
    worker.before[BackupCompleted] = [started(2, "two")]
    async with living(engine, "two", "backup-1"), engine.running(worker):
        sequence = await say(engine.log, request())
        await engine.until("backup.completed.*")
        # it comes again, which it would not if it had been acknowledged, and is left to the worker that holds it
        await eventually(lambda: len(worker.deliveries) >= 2)
        assert await engine.log.acknowledged(WORKER_QUEUE) < sequence
        assert gate.begun == [1]
        assert gate.discarded == []
        await say(engine.log, BackupCompleted(**ABOUT, attempt=2, bytes_read=1, bytes_transferred=1, snapshot_ref="2"))
        await acknowledged(engine, sequence)
    assert gate.discarded == []


async def test_what_cannot_be_removed_is_on_the_log(engine: Engine) -> None:
    class Stuck(Gate):
        async def backup(self, request: BackupRequested, attempt: int, report: Report) -> Result:
            raise BackupError("no space left")

        async def discard(self, request: BackupRequested, *, keep: str | None) -> None:
            raise BackupError("the folder is read-only")

    worker = Observed(engines={"simulated": Stuck()}, worker_id="one")
    async with engine.running(worker):
        sequence = await say(engine.log, request())
        (failed,) = await engine.until("backup.failed.*")
        (orphaned,) = await engine.until("backup.orphaned.*")
        await acknowledged(engine, sequence)
    assert failed.error == "no space left"
    assert (orphaned.backup_id, orphaned.error) == ("backup-1", "the folder is read-only")


async def test_what_a_live_worker_holds_is_not_taken_from_it(engine: Engine) -> None:
    gate = Gate()
    gate.open.set()
    await say(engine.log, request(), started(1, "two"))
    worker = Observed(engines={"simulated": gate}, worker_id="one")
    async with engine.running(worker):
        async with living(engine, "two", "backup-1"):
            await eventually(lambda: len(worker.deliveries) > 4)  # for longer than a lease
            assert gate.begun == []
        await engine.until("backup.completed.*")  # as it is silent now
    assert gate.begun == [2]


async def test_what_a_live_worker_does_not_hold_any_more_is_taken(engine: Engine) -> None:
    """It has read its own beginning of the attempt, and says that it is not at work on it."""
    gate = Gate()
    gate.open.set()
    last = await say(engine.log, request(), started(1, "two"))
    async with engine.running(Observed(engines={"simulated": gate}, worker_id="one")):
        while not gate.begun:
            await engine.log.put_status(key_of("two"), claim(position=last))
        await engine.until("backup.completed.*")
    assert gate.begun == [2]


async def test_a_worker_that_was_paused_beyond_its_lease_looks_before_it_reports(engine: Engine) -> None:
    """Its engine has a result at once when it goes on, and it has not read yet that another worker has begun anew."""
    gate = Gate()
    worker = Observed(engines={"simulated": gate}, worker_id="one")

    async def elsewhere() -> None:
        client = await connect(engine.server.url, "elsewhere")
        log = await Log.open(client)
        await log.put_status(key_of("two"), claim("backup-1"))
        await say(log, started(2, "two"))
        await client.close()

    async with engine.running(worker):
        await say(engine.log, request())
        await eventually(lambda: gate.begun)
        other = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        other.start()
        gate.open.set()
        time.sleep(LEASE + 1)  # noqa: ASYNC251 - this process is paused
        other.join()
        (done,) = await engine.until("backup.completed.*")
    assert done.attempt == 3  # made when the other one had been silent for its lease too


async def test_what_was_delivered_and_ended_long_ago_is_only_acknowledged(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that was made anew delivers everything again. The past is read once, not once for each message."""
    many = 40
    for number in range(many):
        about = {**ABOUT, "backup_id": f"backup-{number}"}
        await say(engine.log, request(backup_id=f"backup-{number}"), BackupStarted(**about, attempt=1, worker="old"))
        await say(
            engine.log,
            BackupCompleted(**about, attempt=1, bytes_read=1, bytes_transferred=1, snapshot_ref="there"),
        )
    last = (await engine.log.identity()).last_sequence
    reads: list[int] = []
    read = Log.read

    async def counted(log: Log, subjects: Any, **given: Any) -> Any:
        reads.append(1)
        return await read(log, subjects, **given)

    gate = Gate()
    worker = Observed(engines={"simulated": gate}, worker_id="one", slots=2)

    async def late(_: Any, __: Any) -> int:
        return last

    async def checkpoint(_: Any, __: Any) -> Checkpoint:
        return Checkpoint(created="", position=last)

    with monkeypatch.context() as patch:
        patch.setattr(Log, "acknowledged", late)
        patch.setattr(Log, "checkpoint", checkpoint)
        patch.setattr(Log, "read", counted)
        async with engine.running(worker):
            await eventually(lambda: len(worker.deliveries) >= many)
            await eventually(lambda: not worker._held)
        assert 1 <= len(reads) <= 2
    assert gate.begun == []
    assert len(await engine.messages("backup.started.*")) == many
    assert await engine.log.acknowledged(WORKER_QUEUE) >= last - 2


async def test_a_backup_requested_again_goes_on_counting_its_attempts(engine: Engine) -> None:
    """Its first attempt is older than its message, and than all that is unacknowledged."""
    gate = Gate()
    gate.open.set()
    first = await say(engine.log, request())
    await say(engine.log, started(1, "dead"))
    subscription = await engine.log._js.pull_subscribe_bind(WORKER_QUEUE.name, STREAM)
    (message,) = await subscription.fetch(1)
    await message.ack_sync()
    assert await engine.log.acknowledged(WORKER_QUEUE) == first
    await say(engine.log, request(round=2))
    async with engine.running(Worker(engines={"simulated": gate}, worker_id="one")):
        await engine.until("backup.completed.*")
    assert gate.begun == [2]


async def test_a_worker_says_that_it_lives_and_what_it_holds(engine: Engine) -> None:
    gate = Gate()

    async def noted() -> dict[str, Any]:
        notes = await engine.log.statuses("worker.")
        return notes["worker.one"].value if "worker.one" in notes else {}

    async def holds() -> bool:
        return (await noted()).get("holding") == ["backup-1"]

    async def holds_nothing() -> bool:
        return (await noted()).get("holding") == []

    async with engine.running(Worker(engines={"simulated": gate}, worker_id="one", slots=3)):
        await eventually(holds_nothing)
        await say(engine.log, request())
        await eventually(holds)
        found = await noted()
        assert (found["slots"], found["engines"]) == (3, ["simulated"])
        first = (await engine.log.statuses("worker."))["worker.one"].at

        async def renewed() -> bool:
            return (await engine.log.statuses("worker."))["worker.one"].at > first

        await eventually(renewed)
    assert await holds_nothing()  # it hands on what it held, and says so


async def test_a_worker_that_stops_hands_on_at_once_what_it_held(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "RETRY_DELAY", 0.1)
    first, second = Gate(), Gate()
    second.open.set()
    async with engine.running(Worker(engines={"simulated": first}, worker_id="one")):
        await say(engine.log, request())
        await eventually(lambda: first.begun)
    stopped = asyncio.get_running_loop().time()
    async with engine.running(Worker(engines={"simulated": second}, worker_id="two")):
        await engine.until("backup.completed.*")
    assert asyncio.get_running_loop().time() - stopped < LEASE
    assert second.begun == [2]


async def test_notes_of_dead_workers_are_removed_by_the_living(monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[str] = []

    class Board:
        async def statuses(self, prefix: str) -> dict[str, Status]:
            assert prefix == "worker."
            ages = {"worker.live": 2, "worker.dead": 600, "worker.long-dead": 3700}
            return {key: Status(value=claim(), at=T0 - timedelta(seconds=age)) for key, age in ages.items()}

        async def time(self) -> Any:
            return T0

        async def delete_status(self, key: str) -> None:
            removed.append(key)

    board: Any = Board()
    history = History(board, asyncio.Event())
    living = presence.Presence(board, "one", slots=1, engines=[], held={}, history=history, lease=LEASE)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(living._tidy(), 0.1)
    assert removed == ["worker.long-dead"]


# --- nothing partial stays --------------------------------------------------------------------------------------------


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
    assert len(await engine.messages("backup.cancelled.*")) == 1
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
    async with engine.running(worker):
        sequence = await say(engine.log, of_disk(disk))
        await eventually(lambda: len(worker.deliveries) == 2)  # it was left alone, and came again
        await acknowledged(engine, sequence)
    assert len(await engine.messages("backup.completed.*")) == 1
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
        await engine.until("backup.completed.*", 2)
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
        (done,) = await engine.until("backup.completed.*")
    assert (done.attempt, done.snapshot_ref) == (2, str(repository / "vm" / FINISHED))
    assert (repository / "vm" / FINISHED / "manifest.json").read_bytes() == before
