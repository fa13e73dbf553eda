"""`flows doctor` on a healthy system, and on systems that are broken one way each: it finds that, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from bus.clock import now
from bus.stream import WORKER_QUEUE
from bus.subjects import STREAM
from cli import doctor
from cli.doctor import examine
from schemas import commands as c
from schemas import tables as t
from schemas.definitions import FlowPatch, ScheduleSpec
from services import database
from services.executor.app import Executor
from services.registry.app import Registry
from services.scheduler.app import Scheduler
from services.worker.app import Worker
from tests.services.conftest import Engine
from tests.services.test_services import built, house
from tests.support import due, sent


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PATIENCE", 1.0)


async def problems(engine: Engine) -> list[str]:
    tables = database.reader(engine.database_url)
    try:
        return [finding.text async for finding in examine(engine.log, tables) if finding.level == "problem"]
    finally:
        await tables.dispose()


async def test_a_healthy_system_at_work_and_at_rest(engine: Engine) -> None:
    everything = (Registry(), Scheduler(), Executor(), Worker(), engine.recorder())
    async with engine.running(*everything):
        await built(engine, house(vms=3, config={"seconds": 1}))
        await engine.ask(c.UpdateFlow(id="flow", patch=FlowPatch(max_concurrent_jobs=2)), c.ExecuteFlow(id="flow"))
        await engine.until("backup.started.*")
        assert await problems(engine) == []
        await engine.until("flow.completed.*")
        assert await problems(engine) == []


async def test_a_part_that_is_missing_is_named(engine: Engine) -> None:
    async with engine.running(Registry(), engine.recorder()):
        await built(engine, house(vms=1))
        schedule = ScheduleSpec(name="s", cron_expression="0 0 1 1 *")
        await engine.ask(
            c.CreateSchedule(id="s", spec=schedule), c.UpdateFlow(id="flow", patch=FlowPatch(schedule_id="s"))
        )
        await engine.until("catalog.flow.*", 2)
        await engine.ask(c.ExecuteFlow(id="flow"))
        (found,) = await problems(engine)
        assert found.startswith("the executor owes FlowStarted")
        async with engine.running(Executor()):
            await engine.until("backup.requested.*")
        (found,) = await problems(engine)
        assert found == "1 backups wait in the queue, and no worker asks for them: is one running?"
        async with engine.running(Executor(), Worker()):
            await engine.until("flow.completed.*")
        assert await problems(engine) == []
    await engine.ask(c.CreateVm(id="new", spec=house(vms=1)[0].spec))  # type: ignore[attr-defined]
    found = await problems(engine)
    (behind,) = found
    assert behind.endswith("1 messages behind: is a recorder running?")


async def test_an_occurrence_that_nobody_said(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async with engine.running(Registry(), Executor(), engine.recorder()):
        await built(engine, house(vms=1))
        schedule = ScheduleSpec(name="s", cron_expression="* * * * *")
        await engine.ask(
            c.CreateSchedule(id="s", spec=schedule), c.UpdateFlow(id="flow", patch=FlowPatch(schedule_id="s"))
        )
        await engine.until("catalog.flow.*", 2)
        monkeypatch.setattr(doctor, "LATE", -2 * doctor.LATE * 6)  # two minutes from now
        (found,) = await problems(engine)
        assert found == "the scheduler owes flow flow an occurrence or a deadline: is one running?"


async def test_a_backup_that_was_lost_from_the_queue(engine: Engine) -> None:
    async with engine.running(Registry(), Executor(), engine.recorder()):
        await built(engine, house(vms=1))
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("backup.requested.*")
        subscription = await engine.log._js.pull_subscribe_bind(WORKER_QUEUE.name, STREAM)
        (message,) = await subscription.fetch(1)
        await message.ack_sync()  # by a worker that did nothing
        (found,) = await problems(engine)
        assert "is no longer in the queue" in found


@pytest.mark.parametrize(
    ("table", "values", "said"),
    [
        (t.protection_flows, {"total_executions": 7}, "the totals of flow 'flow' differ from a recount"),
        (t.executions, {"completed_at": None}, "runs in the tables or on the log, and not in both"),
        (t.backup_jobs, {"status": "running"}, "runs in the tables or on the log, and not in both"),
        (t.projection, {"stream_created": "yesterday"}, "the tables belong to another log"),
    ],
    ids=["totals", "execution", "backup", "stream"],
)
async def test_tables_that_say_otherwise(engine: Engine, table: Any, values: dict[str, Any], said: str) -> None:
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        await built(engine, house(vms=1))
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("flow.completed.*")
        await engine.recorded()
    writer = database.writer(engine.database_url)
    async with writer.begin() as connection:
        await connection.execute(update(table).values(values))
    await writer.dispose()
    found = await problems(engine)
    assert len(found) == 1
    assert said in found[0]


async def test_an_execution_that_began_twice(engine: Engine) -> None:
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        await built(engine, house(vms=1))
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("flow.completed.*")
        (started,) = await engine.messages("flow.skipped.*") or await engine.messages("flow.completed.*")
        await engine.log.ask(sent(started, id="again", time=now()))
        await engine.recorded()
        found = await problems(engine)
    assert f"execution {started.execution_id} completed 2 times" in found


async def test_without_tables_it_says_so(engine: Engine, tmp_path: Path) -> None:
    engine.database_url = database.sqlite_url(tmp_path / "nowhere.db")
    await engine.log.ask(sent(due(), id="x", time=now()))
    found = await problems(engine)
    assert [text for text in found if text.startswith("the tables cannot be read")]
