"""The worker on a real server: an attempt owns its message, however often and to whomever it is delivered."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from bus.clock import now
from bus.connection import connect
from bus.envelope import Entry, encode
from bus.log import Log
from bus.stream import WORKER_QUEUE
from bus.subjects import STREAM, subject_of
from schemas.events import (
    BackupCompleted,
    BackupFailed,
    BackupProgressed,
    BackupRequested,
    BackupStarted,
)
from services.worker.app import Worker
from services.worker.engines.engine import BackupError, Report, Result
from services.worker.status import key_of
from tests.servers import root
from tests.services.conftest import Engine
from tests.services.worker.support import (
    ABOUT,
    LEASE,
    Gate,
    Observed,
    acknowledged,
    claim,
    lease,
    living,
    request,
    say,
    started,
)
from tests.support import eventually, sent

__all__ = ["lease"]


async def test_a_message_comes_once_when_its_backup_is_done(engine: Engine) -> None:
    """It is acknowledged by whoever has done it, and does not come again to find that it has ended."""
    gate = Gate()
    gate.open.set()
    worker = Observed(engines={"simulated": gate}, worker_id="one")
    async with engine.running(worker):
        last = 0
        for number in range(12):
            last = await say(engine.log, request(backup_id=f"backup-{number}"))
        await engine.until("backup.completed.>", 12)
        await eventually(lambda: not worker._held)
        await acknowledged(engine, last)
    assert [(delivery.entry.sequence, delivery.number) for delivery in worker.deliveries] == [
        (entry.sequence, 1) for entry in await engine.log.read(["backup.requested.>"])
    ]


async def test_a_redelivery_to_the_worker_at_work_begins_no_second_attempt(engine: Engine) -> None:
    gate = Gate()
    worker = Observed(engines={"simulated": gate}, worker_id="one")
    async with engine.running(worker):
        sequence = await say(engine.log, request())
        await eventually(lambda: gate.begun)
        for again in (2, 3):
            raw = worker.deliveries[-1].message.raw
            await engine.log._client.publish(raw.reply, b"-NAK")  # the server takes it for whoever has the message
            await eventually(lambda again=again: len(worker.deliveries) == again)  # type: ignore[misc]
        # a second request of the same backup
        second = await say(engine.log, request(round=2))
        await eventually(lambda: len(worker.deliveries) == 4)
        gate.open.set()
        await engine.until("backup.completed.>")
        await acknowledged(engine, max(sequence, second))
    assert (gate.begun, gate.most) == ([1], 1)
    assert [begun.attempt for begun in await engine.messages("backup.started.>")] == [1]
    (done,) = await engine.messages("backup.completed.>")
    assert done.attempt == 1


async def test_a_taken_over_delivery_gets_the_signs_of_life(engine: Engine) -> None:
    gate = Gate()
    worker = Observed(engines={"simulated": gate}, worker_id="one")
    async with engine.running(worker):
        await say(engine.log, request())
        await eventually(lambda: gate.begun)
        raw = worker.deliveries[0].message.raw
        await engine.log._client.publish(raw.reply, b"-NAK")
        await eventually(lambda: len(worker.deliveries) == 2)
        taken = asyncio.get_running_loop().time()
        # two leases long: without a sign of life it would come a third time
        await eventually(lambda: asyncio.get_running_loop().time() > taken + 2 * LEASE)
        assert len(worker.deliveries) == 2
        gate.open.set()
        await engine.until("backup.completed.>")


async def test_a_stale_outcome_is_neither_reported_nor_acknowledged(engine: Engine) -> None:
    """A newer attempt begins in the moment in which the older one reports its end: the message is the newer one's."""
    gate = Gate()
    gate.open.set()
    worker = Observed(engines={"simulated": gate}, worker_id="one")
    worker.before[BackupCompleted] = [started(2, "two")]
    async with living(engine, "two", "backup-1"), engine.running(worker):
        sequence = await say(engine.log, request())
        # it comes again, which it would not if it had been acknowledged, and is left to the worker that holds it
        await eventually(lambda: len(worker.deliveries) >= 2)
        assert await engine.log.acknowledged(WORKER_QUEUE) < sequence
        assert gate.begun == [1]
        assert gate.discarded == []
        assert await engine.messages("backup.completed.>") == []
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
        (failed,) = await engine.until("backup.failed.>")
        (orphaned,) = await engine.until("backup.orphaned.>")
        await acknowledged(engine, sequence)
    assert failed.error == "no space left"
    assert (orphaned.backup_id, orphaned.error) == ("backup-1", "the folder is read-only")


async def test_a_worker_that_was_paused_beyond_its_lease_looks_before_it_reports(engine: Engine) -> None:
    """Its engine has a result at once when it goes on, and it has not read yet that another worker has begun anew."""
    gate = Gate()
    worker = Observed(engines={"simulated": gate}, worker_id="one")

    async def elsewhere() -> None:
        client = await connect(root(engine.server), "elsewhere")
        log = Log(client)
        await log.put_status(key_of("two"), claim("backup-1"))
        await say(log, started(2, "two"))
        await client.close()

    async with engine.running(worker):
        await say(engine.log, request())
        await eventually(lambda: gate.begun)
        other = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        other.start()
        gate.open.set()
        time.sleep(LEASE + 1)  # noqa: ASYNC251  # not a wait: this process is paused
        other.join()
        (done,) = await engine.until("backup.completed.>")
    assert done.attempt == 3  # made when the other one had been silent for its lease too


async def test_what_was_delivered_and_ended_long_ago_is_only_acknowledged(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that was made anew delivers everything again. About each message the log is asked once, and no more."""
    many = 40
    for number in range(many):
        about = {**ABOUT, "backup_id": f"backup-{number}", "context_id": f"vm-{number}"}
        await say(engine.log, request(**about), BackupStarted(**about, attempt=1, worker="old"))
        await say(
            engine.log,
            BackupCompleted(**about, attempt=1, bytes_read=1, bytes_transferred=1, snapshot_ref="there"),
        )
    last = (await engine.log.identity()).last_sequence
    read: list[int] = []
    after = Log.after

    async def counted(log: Log, subject: str, position: int) -> list[Entry]:
        entries = await after(log, subject, position)
        read.append(len(entries))
        return entries

    gate = Gate()
    worker = Observed(engines={"simulated": gate}, worker_id="one", slots=2)
    with monkeypatch.context() as patch:
        patch.setattr(Log, "after", counted)
        async with engine.running(worker):
            await eventually(lambda: len(worker.deliveries) >= many)
            await eventually(lambda: not worker._held)
        assert read == [2] * len(worker.deliveries)  # what is said of its own VM: it began, and ended
    assert gate.begun == []
    assert len(await engine.messages("backup.started.>")) == many
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
        await engine.until("backup.completed.>")
    assert gate.begun == [2]


async def say_as_before(engine: Engine, message: BackupStarted | BackupCompleted) -> None:
    """Report as workers of older versions do: without the VM in the subject."""
    event = sent(message, time=now())
    await engine.log._js.publish(".".join(subject_of(message).split(".")[:3]), encode(event))


async def test_what_a_worker_of_an_older_version_began_is_known(engine: Engine) -> None:
    gate = Gate()
    gate.open.set()
    sequence = await say(engine.log, request())
    await say_as_before(engine, started(1, "old"))
    worker = Observed(engines={"simulated": gate}, worker_id="one")
    async with living(engine, "old", "backup-1"), engine.running(worker):
        await eventually(lambda: len(worker.deliveries) >= 2)  # it is left to the one that holds it
        assert gate.begun == []
        done = BackupCompleted(**ABOUT, attempt=1, bytes_read=1, bytes_transferred=1, snapshot_ref="old:1")
        await say_as_before(engine, done)
        await acknowledged(engine, sequence)
    assert gate.begun == []
    assert [one.attempt for one in await engine.messages("backup.started.>")] == [1]


async def test_a_request_that_is_on_the_log_twice_is_done_once(engine: Engine) -> None:
    """What was reported before its second message is no less known."""
    gate = Gate()
    gate.open.set()
    async with engine.running(Worker(engines={"simulated": gate}, worker_id="one")):
        await say(engine.log, request())
        await engine.until("backup.completed.>")
        await acknowledged(engine, await say(engine.log, request()))
    assert gate.begun == [1]
    assert len(await engine.messages("backup.started.>")) == 1


async def test_a_second_request_knows_the_attempt_that_goes_on(engine: Engine) -> None:
    gate = Gate()
    gate.open.set()
    await say(engine.log, request(), started(1, "dead"))
    await say(engine.log, request())
    progressed = BackupProgressed(**ABOUT, attempt=1, percent=1, bytes_read=1, bytes_transferred=1)
    await say(engine.log, progressed)
    async with engine.running(Worker(engines={"simulated": gate}, worker_id="one")):
        await engine.until("backup.completed.>")
    assert gate.begun == [2]


async def test_of_other_backups_of_the_vm_nothing_is_taken_for_ones_own(engine: Engine) -> None:
    gate = Gate()
    gate.open.set()
    other = {**ABOUT, "backup_id": "another", "execution_id": "before"}
    await say(engine.log, request(**other), BackupStarted(**other, attempt=1, worker="old"))
    await say(engine.log, BackupFailed(**other, attempt=1, error="x"), request())
    async with engine.running(Worker(engines={"simulated": gate}, worker_id="one")):
        (done,) = await engine.until("backup.completed.>")
    assert (done.attempt, done.backup_id) == (1, "backup-1")


async def test_a_worker_reads_nothing_of_what_others_report(engine: Engine) -> None:
    """It is asked about its own backups, and how much is said of others does not matter."""
    gate = Gate()
    worker = Worker(engines={"simulated": gate}, worker_id="one")
    async with engine.running(worker):
        await say(engine.log, request())
        await eventually(lambda: gate.begun)
        client = worker._followed._log._client
        for number in range(300):
            await say(engine.log, BackupStarted(**{**ABOUT, "context_id": f"vm-{number}"}, attempt=1, worker="two"))
        read = client.stats["in_msgs"]
        for number in range(300):
            await say(engine.log, BackupStarted(**{**ABOUT, "context_id": f"vm-{number}"}, attempt=2, worker="two"))
        assert client.stats["in_msgs"] - read < 100  # signs of life
        gate.open.set()
        await engine.until("backup.completed.>")
