"""The services together, on a real server and a real database: each story is told on the log."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bus.clock import now
from bus.connection import connect
from bus.errors import ForeignStream, Unavailable
from bus.log import Identity, Log
from bus.setup import declare_at
from bus.subjects import STREAM
from schemas import commands as c
from schemas import tables as t
from schemas.definitions import (
    Disk,
    FlowSpec,
    PolicySpec,
    RepositorySpec,
    ScheduleSpec,
    VmSpec,
)
from schemas.events import BackupCompleted, BackupStarted, DeadLettered, FlowCompleted, Rejected
from services import checkpoints, consuming
from services.executor.app import Executor
from services.recorder.app import Recorder
from services.recorder.store import Tables
from services.registry.app import Registry
from services.scheduler.app import Scheduler
from services.worker.app import Worker
from services.worker.reports import Reports
from tests.servers import root, server_in
from tests.services.conftest import Engine
from tests.services.house import built, house
from tests.support import T0, due, eventually, sent


async def test_from_command_to_completed_and_into_the_tables(engine: Engine) -> None:
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        await built(engine, house(vms=6))
        await engine.ask(c.ExecuteFlow(id="flow"))
        (end,) = await engine.until("flow.completed.*")
        assert isinstance(end, FlowCompleted)
        assert (end.status, end.jobs_created, end.jobs_completed) == ("success", 6, 6)
        await engine.recorded()
    (execution,) = await engine.rows(select(t.executions))
    assert (execution["status"], execution["jobs_completed"], execution["triggered_by"]) == ("success", 6, "admin")
    jobs = await engine.rows(select(t.backup_jobs).order_by(t.backup_jobs.c.position))
    assert [(job["context_id"], job["status"], job["progress_percent"]) for job in jobs] == [
        (f"vm-{number}", "success", 100) for number in range(6)
    ]
    (flow,) = await engine.rows(select(t.protection_flows))
    assert (flow["total_executions"], flow["successful_executions"], flow["failed_executions"]) == (1, 1, 0)
    assert (flow["last_execution_id"], flow["last_execution_status"]) == (execution["id"], "success")
    commands = await engine.rows(select(t.commands))
    assert {command["outcome"] for command in commands} == {"accepted"}
    assert len(await engine.rows(select(t.events))) == (await engine.log.identity()).last_sequence


async def test_two_of_each_service_are_as_good_as_one(engine: Engine) -> None:
    pairs = [Registry(), Registry(), Executor(), Executor(), Worker(slots=2), Worker(slots=2)]
    async with engine.running(Registry()):
        await built(engine, house(vms=10))  # in order: rivals may answer a command before the one ahead of it
    async with engine.running(*pairs, engine.recorder()):
        await engine.ask(*[c.ExecuteFlow(id="flow")] * 5)
        answers = await engine.until("flow.started.*")

        async def all_answered() -> bool:
            seen = [*await engine.messages("flow.completed.*"), *await engine.messages("flow.skipped.*")]
            return len(seen) == 5

        await eventually(all_answered, within=30)
        answers = await engine.messages("flow.started.*")
        requested = [request.backup_id for request in await engine.messages("backup.requested.>")]
        assert len(requested) == len(set(requested)) == 10 * len(answers)
        assert len(await engine.messages("flow.completed.*")) == len(answers)


async def test_a_command_that_comes_again_has_one_answer(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its age: to a registry that was there, and to one that knows of it by its checkpoint only."""
    monkeypatch.setattr(checkpoints, "EVERY", 1)

    async def again() -> None:
        for entry in await engine.log.read(["command.*.*"]):
            # without the id that the server would know it by for two minutes
            await engine.log.append([entry.envelope], expect={})  # type: ignore[union-attr]

    async with engine.running(Registry()):
        await built(engine, house(vms=1)[:1])
        await engine.ask(c.DeleteVm(id="nothing"))
        await engine.until("rejected.*.*")
        await again()
        last = await engine.log.last_sequence("command.*.*")

        async def saved() -> bool:
            return (await engine.log.checkpoint("registry")).position >= last

        await eventually(saved)
    async with engine.running(Registry()):
        await again()
        await engine.ask(c.CreateVm(id="last", spec=VmSpec(vm_name="last")))
        await engine.until("catalog.vm.last")
        assert len(await engine.messages("catalog.*.*")) == 2
        assert len(await engine.messages("rejected.*.*")) == 1


async def test_rival_registries_agree(engine: Engine) -> None:
    async with engine.running(Registry(), Registry(), Registry()):
        spec = VmSpec(vm_name="x")
        await asyncio.gather(*(engine.ask(c.CreateVm(id=f"vm-{number % 5}", spec=spec)) for number in range(30)))

        async def all_answered() -> bool:
            return len(await engine.messages("catalog.*.*")) + len(await engine.messages("rejected.*.*")) == 30

        await eventually(all_answered, within=30)
        assert len(await engine.messages("catalog.*.*")) == 5


async def test_a_failing_vm_is_retried_and_then_failed_with_the_reason(engine: Engine) -> None:
    policy = PolicySpec(name="policy", retry_attempts=1, retry_delay_seconds=1)
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        await built(engine, house(vms=2, config={"failure_rate": 1.0}, policy=policy))
        await engine.ask(c.ExecuteFlow(id="flow"))
        (end,) = await engine.until("flow.completed.*")
        assert (end.status, end.jobs_failed) == ("error", 2)
        assert "simulated failure of attempt 2" in end.error_message
        started = await engine.messages("backup.started.>")
        assert sorted(start.attempt for start in started) == [1, 1, 2, 2]
        assert len(await engine.messages("backup.retrying.>")) == 2
        await engine.recorded()
    jobs = await engine.rows(select(t.backup_jobs))
    assert {(job["status"], job["attempt"]) for job in jobs} == {("error", 2)}


async def test_a_backup_over_its_time_is_failed(engine: Engine) -> None:
    policy = PolicySpec(name="policy", timeout_seconds=1)
    async with engine.running(Registry(), Executor(), Worker()):
        await built(engine, house(vms=1, config={"seconds": 60}, policy=policy))
        await engine.ask(c.ExecuteFlow(id="flow"))
        (failed,) = await engine.until("backup.failed.>")
        assert "not finished within 1 s" in failed.error


async def test_a_worker_that_stops_hands_its_work_on(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consuming, "RETRY_DELAY", 0.1)
    async with engine.running(Registry(), Executor()):
        await built(engine, house(vms=2, config={"seconds": 2}))
        async with engine.running(Worker()):
            await engine.ask(c.ExecuteFlow(id="flow"))
            await engine.until("backup.started.>", 2)
        async with engine.running(Worker()):
            (end,) = await engine.until("flow.completed.*")
        assert (end.status, end.jobs_completed) == ("success", 2)
        attempts = [start.attempt for start in await engine.messages("backup.started.>")]
        assert sorted(attempts) == [1, 1, 2, 2]


async def test_a_request_redelivered_after_its_end_is_not_run_again(engine: Engine) -> None:
    """A server that was killed may forget acknowledgements, and counts deliveries from one again."""
    async with engine.running(Registry(), Executor(), Worker()):
        await built(engine, house(vms=3))
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("flow.completed.*")
    await engine.log._js.delete_consumer(STREAM, "worker")
    await declare_at(engine.server.url)
    async with engine.running(Registry(), Executor(), Worker()):
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("flow.completed.*", 2)
    started = [(start.backup_id, start.attempt) for start in await engine.messages("backup.started.>")]
    assert len(started) == len(set(started)) == 6
    assert {attempt for _, attempt in started} == {1}


async def test_a_cancelled_execution_ends_at_once(engine: Engine) -> None:
    async with engine.running(Registry(), Executor(), Executor(), Worker(slots=2), engine.recorder()):
        await built(engine, house(vms=5, config={"seconds": 60}))
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("backup.started.>", 2)
        (started,) = await engine.messages("flow.started.*")
        begun = asyncio.get_running_loop().time()
        await engine.ask(c.CancelExecution(id=started.execution_id))
        (end,) = await engine.until("flow.completed.*")
        assert asyncio.get_running_loop().time() - begun < 5
        assert (end.status, end.jobs_skipped) == ("cancelled", 5)
        assert len(await engine.messages("flow.cancelling.*")) == 1
        await engine.ask(c.CancelExecution(id=started.execution_id))
        (no,) = await engine.until("rejected.execution.cancel")
        assert "not running" in no.reason
        await engine.recorded()
    jobs = await engine.rows(select(t.backup_jobs))
    assert {job["status"] for job in jobs} <= {"cancelled", "skipped"}
    outcomes = await engine.rows(
        select(t.commands).where(t.commands.c.verb == "cancel").order_by(t.commands.c.sequence)
    )
    assert [command["outcome"] for command in outcomes] == ["accepted", "rejected"]


async def test_one_vm_without_its_disk_is_an_error_and_the_others_are_done(engine: Engine, tmp_path: Path) -> None:
    commands = house(vms=3)
    (tmp_path / "repository").mkdir()
    for number in (0, 2):
        (tmp_path / f"{number}.raw").write_bytes(b"x" * 100_000)
    for number in range(3):
        disks = [Disk(disk_id="d", path=str(tmp_path / f"{number}.raw"))]
        commands[number] = c.CreateVm(id=f"vm-{number}", spec=VmSpec(vm_name=f"vm-{number}", disks=disks))
    spec = RepositorySpec(name="repository", type="directory", location=str(tmp_path / "repository"))
    commands[4] = c.CreateRepository(id="repository", spec=spec)
    async with engine.running(Registry(), Executor(), Worker()):
        await built(engine, commands)
        await engine.ask(c.ExecuteFlow(id="flow"))
        (end,) = await engine.until("flow.completed.*")
        assert (end.status, end.jobs_completed, end.jobs_failed) == ("warning", 2, 1)
        assert "1.raw does not exist" in end.error_message
        assert len(await engine.messages("backup.completed.>")) == 2


async def test_a_schedule_fires_at_its_time(engine: Engine) -> None:
    """The scheduler's shell on a clock that the test turns: the minute comes, and with it `flow.due`, once."""
    clock = {"now": T0}
    commands = house(vms=1)
    flow = commands[-1]
    assert isinstance(flow, c.CreateFlow)
    fields = {field: getattr(flow.spec, field) for field in flow.spec.__struct_fields__}
    schedule = c.CreateSchedule(id="schedule", spec=ScheduleSpec(name="s", cron_expression="* * * * *"))
    commands[-1:] = [schedule, c.CreateFlow(id="flow", spec=FlowSpec(**fields | {"schedule_id": "schedule"}))]
    async with engine.running(Registry()):
        await built(engine, commands)
    created = (await engine.log.read(["catalog.flow.*"]))[0].envelope.time  # type: ignore[union-attr]
    clock["now"] = created
    schedulers = [Scheduler(lambda: clock["now"], max_offset=None) for _ in range(3)]
    async with engine.running(*schedulers):
        clock["now"] = created.replace(second=0, microsecond=0) + timedelta(minutes=1, milliseconds=5)
        # an edit wakes them
        async with engine.running(Registry()):
            await engine.ask(c.EnableFlow(id="flow"))
            (fired,) = await engine.until("flow.due.*")
        assert fired.occurrence == created.replace(second=0, microsecond=0) + timedelta(minutes=1)
        await engine.read_by(*schedulers)
    assert len(await engine.messages("flow.due.*")) == 1


async def test_a_scheduler_that_no_longer_hears_the_log_ends_at_once(engine: Engine) -> None:
    """It would otherwise sleep on, up to a minute, and decide on what it knew."""

    class Deaf:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine.log, name)

        async def follow(self, *_: Any, **__: Any) -> Any:
            raise Unavailable("gone")
            yield  # makes it a generator

    scheduler = Scheduler()
    await scheduler.open(Deaf(), None)  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await asyncio.wait_for(scheduler.run(), 10)


async def test_malformed_messages_are_put_aside_and_everything_goes_on(engine: Engine) -> None:
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        jetstream = engine.log._js
        for subject in ("command.flow.create", "backup.requested.flow", "flow.due.flow", "catalog.vm.x", "flow.due.é"):
            await jetstream.publish(subject, b"\x00\xff not an envelope")
        await built(engine, house(vms=1))
        await engine.ask(c.ExecuteFlow(id="flow"))
        (end,) = await engine.until("flow.completed.*")
        assert end.status == "success"
        dead = await engine.until("dead.*.*", 5)
        assert [letter.subject for letter in dead if isinstance(letter, DeadLettered)][:2] == [
            "command.flow.create",
            "backup.requested.flow",
        ]
        await engine.recorded()
    # a recorder that starts from nothing does not say it again
    fresh = Engine(engine.server, engine.log, engine.database_url.replace("flows.db", "fresh.db"))
    async with fresh.running(fresh.recorder()):
        await fresh.recorded()
    assert len(await engine.messages("dead.*.*")) == 5


async def test_a_rebuilt_database_is_the_same(engine: Engine) -> None:
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        await built(engine, house(vms=4, config={"failure_rate": 0.4, "seed": "x"}))
        for _ in range(4):
            await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.ask(c.DisableFlow(id="flow"), c.CreateVm(id="vm-0", spec=VmSpec(vm_name="again")))
        await engine.until("rejected.*.*")

        async def over() -> bool:
            started, completed, skipped = [
                len(await engine.messages(f"flow.{event}.*")) for event in ("started", "completed", "skipped")
            ]
            return started + skipped == 4 and completed == started

        await eventually(over)
        await engine.recorded()
    fresh = Engine(engine.server, engine.log, engine.database_url.replace("flows.db", "fresh.db"))
    async with fresh.running(fresh.recorder()):
        await fresh.recorded()
    for table in t.metadata.sorted_tables:
        statement = select(table).order_by(*table.primary_key.columns)
        assert await engine.rows(statement) == await fresh.rows(statement), table.name


async def test_deleting_a_flow_deletes_its_history(engine: Engine) -> None:
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        await built(engine, house(vms=2))
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("flow.completed.*")
        await engine.ask(c.DeleteFlow(id="flow"))
        await engine.until("catalog.flow.flow", 2)
        await engine.ask(c.ExecuteFlow(id="flow"))
        (skipped,) = await engine.until("flow.skipped.*")
        assert skipped.reason == "flow_deleted"
        await engine.recorded()
    for table in (t.protection_flows, t.executions, t.backup_jobs):
        assert await engine.rows(select(table)) == []


async def test_a_foreign_log_is_not_projected(engine: Engine, tmp_path: Path) -> None:
    async with engine.running(Registry(), engine.recorder()):
        await built(engine, house(vms=1))
        await engine.recorded()
    other = server_in(tmp_path / "other")
    other.start()
    client = await connect(root(other), "other")
    await declare_at(other.url)
    stranger = Engine(other, Log(client), engine.database_url)
    with pytest.raises(ForeignStream, match="replaced or damaged"):
        async with stranger.running(stranger.recorder()) as running:
            await asyncio.wait([running], timeout=20)
    await client.close()
    other.stop()


async def test_a_recorder_may_start_while_another_one_reads_on(engine: Engine) -> None:
    """It compared where the tables were with where the log had been before, and took it for a damaged one."""

    class Overtaken(Tables):
        async def position(self, stream: Identity) -> int:
            await engine.ask(*house(vms=1))
            await engine.recorded()
            return await super().position(stream)

    async with engine.running(engine.recorder()):
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.recorded()
        second = Recorder(Overtaken(engine.database_url))
        await second.open(engine.log, subscribe=lambda *_, **__: None)
        assert second.position == (await engine.log.identity()).last_sequence
        await second._store.close()


async def test_refusals_say_which_field(engine: Engine) -> None:
    async with engine.running(Registry()):
        await engine.ask(c.CreateFlow(id="flow", spec=house()[-1].spec))  # type: ignore[attr-defined]
        (no,) = await engine.until("rejected.*.*")
        assert isinstance(no, Rejected)
        assert (no.entity, no.verb, no.field) == ("flow", "create", "target_id")


def test_reports_have_ids_of_their_own() -> None:
    about = {"flow_id": "f", "execution_id": "e", "backup_id": "b", "context_id": "v", "attempt": 1}
    record: Any = type("Record", (), {"entry": type("Entry", (), {"envelope": sent(due())}), "source": "worker/one"})
    nothing: Any = None
    reports = Reports(nothing, nothing, now)
    started = reports.envelope(record, BackupStarted(**about, worker="w"))
    ended = reports.envelope(record, BackupCompleted(**about, bytes_read=1, bytes_transferred=1, snapshot_ref="x"))
    assert started.id != ended.id
