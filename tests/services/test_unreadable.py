"""An outsider's unreadable message is nobody's last word: what was readable before it still counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from schemas import commands as c
from schemas.definitions import FlowPatch, FlowSpec
from services.executor.app import Executor
from services.registry.app import Registry
from services.scheduler.app import Scheduler
from services.worker.app import Worker
from tests.services.conftest import Engine
from tests.services.house import built, house
from tests.support import eventually, flow, group, repository, schedule, sent, vm


async def unreadable(engine: Engine, subject: str) -> None:
    await engine.log._js.publish(subject, b"no envelope")


async def test_a_restarted_scheduler_does_not_say_past_occurrences_again(engine: Engine) -> None:
    begin = datetime(2026, 11, 1, 12, 0, 30, tzinfo=UTC)
    clock = [begin]
    definitions = [
        *(vm("vm-0"), group(members=["vm-0"]), repository()),
        schedule(cron_expression="* * * * *", armed_at=begin, catch_up="all"),
        flow("flow", schedule_id="schedule-1", armed_at=begin),
    ]
    await engine.log.append(
        [sent(one, id=f"d{number}", time=begin) for number, one in enumerate(definitions)], expect={}
    )
    for minute in (1, 2):
        clock[0] = begin + timedelta(minutes=minute)
        async with engine.running(Scheduler(lambda: clock[0], max_offset=None)):
            await engine.until("flow.due.*", minute)
    await unreadable(engine, "flow.due.flow")
    clock[0] = begin + timedelta(minutes=3)
    async with engine.running(Scheduler(lambda: clock[0], max_offset=None)):

        async def three() -> bool:
            return len(await engine.messages("flow.due.flow")) == 3

        await eventually(three)
    occurrences = [one.occurrence for one in await engine.messages("flow.due.flow")]
    assert len(set(occurrences)) == len(occurrences) == 3


async def test_a_restarted_registry_does_not_forget_a_flow(engine: Engine) -> None:
    async with engine.running(Registry()):
        await built(engine, house(vms=1))
    await unreadable(engine, "catalog.flow.flow")
    async with engine.running(Registry()):
        spec = FlowSpec(
            name="flow", flow_type="backup", target_type="group", target_id="group", repository_id="repository"
        )
        await engine.ask(c.CreateFlow(id="second", spec=spec), c.UpdateFlow(id="flow", patch=FlowPatch(priority=7)))
        (no,) = await engine.until("rejected.flow.create")
        assert (no.code, no.field) == ("conflict", "name")
        changed = (await engine.until("catalog.flow.flow", 2))[-1]
        assert (changed.version, changed.definition.priority) == (2, 7)


async def test_executions_go_on_past_unreadable_messages_on_every_subject(engine: Engine) -> None:
    async with engine.running(Registry(), Executor(), Worker()):
        await built(engine, house(vms=1))
        for subject in (
            "flow.started.flow",
            "flow.completed.flow",
            "backup.requested.flow",
            "rejected.execution.cancel",
        ):
            await unreadable(engine, subject)
        await engine.ask(c.ExecuteFlow(id="flow"), c.CancelExecution(id="nothing"))
        await engine.until("flow.completed.*")
        await engine.until("rejected.execution.cancel")
