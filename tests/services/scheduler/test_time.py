"""Time on a real log: the edit race, schedulers whose clock is off, the freeze, and backfills."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from bus.clock import now
from schemas import commands as c
from schemas.definitions import FlowPatch, RepositoryPatch, ScheduleSpec, SettingsPatch
from schemas.events import FlowDue, FlowSkipped, FreezeDefined
from schemas.ids import ENGINE
from services.executor.app import Executor
from services.registry.app import Registry
from services.scheduler import app as scheduler_app
from services.scheduler.app import Scheduler
from services.worker.app import Worker
from tests.services.conftest import Engine
from tests.services.house import built, house
from tests.support import eventually, sent

EVERY_MINUTE = ScheduleSpec(name="every minute", cron_expression="* * * * *")


def shifted(to_tick: float) -> timedelta:
    """Return by how much a clock must be ahead so that the next full minute comes in `to_tick` seconds."""
    here = now()
    tick = here.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return tick - here - timedelta(seconds=to_tick)


async def test_fifty_edits_a_second_around_a_tick_leave_one_outcome_for_each_flow(engine: Engine) -> None:
    """Flows hop between schedules that all match the minute, while it comes, before two schedulers."""
    ahead = shifted(4)
    flow = house(vms=1)[-1]
    assert isinstance(flow, c.CreateFlow)
    names = [f"flow-{number}" for number in range(5)]

    def clock() -> datetime:
        return now() + ahead

    async def edit(number: int) -> None:
        """Change one thing, as a person would who looks at the same clock."""
        schedule = "s-1" if number % 2 else "s-2"
        command = c.UpdateFlow(id=names[number % 5], patch=FlowPatch(schedule_id=schedule))
        await engine.log.publish_once(sent(command, id=f"edit-{number}", time=clock(), actor="admin"))

    async with engine.running(Registry()):
        await built(engine, house(vms=1)[:-1])
        spec = ScheduleSpec(name="s-1", cron_expression="* * * * *")
        other = ScheduleSpec(name="s-2", cron_expression="*/1 * * * *", timezone="Europe/Berlin")
        await engine.ask(c.CreateSchedule(id="s-1", spec=spec), c.CreateSchedule(id="s-2", spec=other))
        fields = {field: getattr(flow.spec, field) for field in flow.spec.__struct_fields__}
        for name in names:
            made = type(flow.spec)(**{**fields, "name": name, "schedule_id": "s-1"})
            await engine.log.publish_once(sent(c.CreateFlow(id=name, spec=made), id=name, time=clock(), actor="admin"))
        await engine.until("catalog.flow.*", 5)
        tick = clock().replace(second=0, microsecond=0) + timedelta(minutes=1)
        schedulers = [Scheduler(clock, max_offset=None) for _ in range(2)]
        async with engine.running(*schedulers):
            number = 0
            while clock() < tick + timedelta(seconds=1.5):
                edits = [edit(number + more) for more in range(5)]
                await asyncio.gather(*edits, asyncio.sleep(0.1))  # not a wait: the pace of the edits
                number += 5
            assert number > 50

            async def answered() -> bool:
                return len(await engine.messages("flow.due.*")) >= 5

            await eventually(answered)
            await engine.read_by(*schedulers)
        due = [event for event in await engine.messages("flow.due.*") if isinstance(event, FlowDue)]
    assert Counter((event.flow_id, event.occurrence) for event in due) == {(name, tick): 1 for name in names}
    assert await engine.messages("flow.missed.*") == []


async def test_a_scheduler_whose_clock_is_off_fires_nothing_and_says_so(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_app, "OFFSET_PAUSE", 0.2)
    off = {"by": timedelta(minutes=5)}
    async with engine.running(Registry()):
        await built(engine, house(vms=1))
        await engine.ask(
            c.CreateSchedule(id="s", spec=EVERY_MINUTE), c.UpdateFlow(id="flow", patch=FlowPatch(schedule_id="s"))
        )
        await engine.until("catalog.flow.*", 2)
    async with engine.running(Scheduler(lambda: now() + off["by"])):

        async def noted() -> bool:
            return any(one.value["refusing"] for one in (await engine.log.statuses("clock.")).values())

        await eventually(noted)
        assert await engine.messages("flow.due.*", "flow.missed.*") == []
        (note,) = (await engine.log.statuses("clock.")).values()
        assert 299 < note.value["offset_seconds"] < 301
        assert abs(note.at - now()) < timedelta(seconds=10)
        off["by"] = timedelta()

        async def well() -> bool:
            return not any(one.value["refusing"] for one in (await engine.log.statuses("clock.")).values())

        await eventually(well)
    off["by"] = -timedelta(minutes=5)  # a clock that is slow would fire late: it is noticed before anything is due
    async with engine.running(Scheduler(lambda: now() + off["by"])):
        await eventually(noted)
        assert await engine.messages("flow.due.*", "flow.missed.*") == []


async def test_a_freeze_skips_what_is_scheduled_and_nothing_else(engine: Engine) -> None:
    ahead = shifted(3)
    async with engine.running(Registry(), Executor(), Worker(), Scheduler(lambda: now() + ahead, max_offset=None)):
        await built(engine, house(vms=1))
        await engine.ask(
            c.CreateSchedule(id="s", spec=EVERY_MINUTE),
            c.UpdateFlow(id="flow", patch=FlowPatch(schedule_id="s")),
            c.SetFreeze(id=ENGINE, until=now() + timedelta(hours=1), reason="month-end closing"),
        )
        (no,) = await engine.until("flow.skipped.*")
        assert isinstance(no, FlowSkipped)
        assert no.reason == "frozen"
        assert "month-end closing" in no.message
        await engine.ask(c.ExecuteFlow(id="flow"))
        (end,) = await engine.until("flow.completed.*")
        assert end.status == "success"
        await engine.ask(c.LiftFreeze(id=ENGINE), c.LiftFreeze(id=ENGINE))
        (refused,) = await engine.until("rejected.freeze.lift")
        assert refused.code == "not_found"
        states = await engine.messages("catalog.freeze.*")
        assert [isinstance(one, FreezeDefined) and one.definition is not None for one in states] == [True, False]


async def test_a_freeze_must_end_in_the_future(engine: Engine) -> None:
    async with engine.running(Registry()):
        await engine.ask(c.SetFreeze(id=ENGINE, until=now() - timedelta(hours=1), reason="x"))
        (refused,) = await engine.until("rejected.freeze.set")
        assert (refused.code, refused.field) == ("invalid", "until")


async def test_a_backfill_runs_so_many_at_a_time_and_is_cancelled_as_one(engine: Engine) -> None:
    past = [datetime(2026, 11, day, 2, tzinfo=UTC) for day in range(1, 7)]
    async with engine.running(Registry(), Executor(), Executor(), Worker(slots=8)):
        await built(engine, house(vms=1))
        await engine.ask(c.CreateBackfill(id="b1", flow_id="flow", occurrences=past[:3], max_concurrent=1))
        ends = await engine.until("flow.completed.*", 3)
        assert {end.status for end in ends} == {"success"}
        started = await engine.messages("flow.started.*")
        assert [one.occurrence for one in started] == past[:3]
        assert {one.backfill_id for one in started} == {"b1"}
        kinds = [
            entry.envelope.type  # type: ignore[union-attr]
            for entry in await engine.log.read(["flow.started.*", "flow.completed.*"])
        ]
        assert kinds == ["flow.started", "flow.completed"] * 3  # one at a time
        slow = RepositoryPatch(config={"seconds": 60})
        await engine.ask(c.UpdateRepository(id="repository", patch=slow))
        await engine.until("catalog.repository.*", 2)
        await engine.ask(c.CreateBackfill(id="b2", flow_id="flow", occurrences=past, max_concurrent=2))
        await engine.until("backup.started.>", 4)  # one VM: its backups follow one another
        await engine.ask(c.CancelBackfill(id="b2", flow_id="flow"))
        await engine.until("flow.completed.*", 5)
        skipped = await engine.until("flow.skipped.*", 4)
        assert {no.reason for no in skipped} == {"backfill_cancelled"}
        assert [one.status for one in (await engine.messages("flow.completed.*"))[3:]] == ["cancelled"] * 2
        await engine.ask(
            c.CancelBackfill(id="b2", flow_id="flow"), c.CreateBackfill(id="b3", flow_id="x", occurrences=past)
        )
        refused = [*await engine.until("rejected.backfill.cancel"), *await engine.until("rejected.backfill.create")]
        assert ["not running" in refused[0].reason, "does not exist" in refused[1].reason] == [True, True]


async def test_history_is_pruned_once_a_day_when_that_is_set(engine: Engine) -> None:
    async with engine.running(Registry(), Scheduler()):
        await engine.ask(c.UpdateSettings(id=ENGINE, patch=SettingsPatch(keep_days=30)))
        (asked,) = await engine.until("command.history.prune")
        assert abs(now() - timedelta(days=30) - asked.before) < timedelta(seconds=30)
    schedulers = [Scheduler(), Scheduler()]
    async with engine.running(*schedulers):
        await eventually(lambda: all(one._pruned for one in schedulers))
    assert len(await engine.messages("command.history.prune")) == 1
