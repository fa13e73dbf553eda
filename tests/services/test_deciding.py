"""Deciding under unknown outcomes, late effects and rivals: nothing is said twice, and nothing is left unsaid."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from bus.appending import Guards
from bus.clock import now
from bus.envelope import Envelope
from bus.errors import Unknown
from bus.log import Log
from bus.subjects import guard_of, id_of
from bus.tasks import cancel_and_wait
from schemas import commands as c
from schemas.definitions import FlowPatch, RepositoryPatch, SettingsPatch
from services import deciding
from services.executor.app import Executor
from services.executor.deliveries import abandonment
from services.registry.app import Registry
from services.scheduler.app import Scheduler
from tests.services.conftest import Engine
from tests.services.house import built, house
from tests.support import due, eventually, flow, group, repository, schedule, sent, vm

FLOWS = 30
Append = Callable[[], Awaitable[int]]


class UncertainLog:
    """The log, for a process whose appends go as `fate` says: it gets the append's number, and the append itself."""

    def __init__(self, log: Log, fate: Callable[[int, Append], Awaitable[int]]) -> None:
        self._log = log
        self._fate = fate
        self.appends = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, events: Sequence[Envelope], *, expect: Guards) -> int:
        self.appends += 1
        return await self._fate(self.appends, lambda: self._log.append(events, expect=expect))


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "RETRY_PAUSE", 0.05)


async def with_effect(append: Append) -> int:
    await append()
    raise Unknown("no answer came")


async def without_effect(append: Append) -> int:
    del append
    raise Unknown("it never arrived")


def late_effect(tasks: list[asyncio.Task[int]]) -> Callable[[Append], Awaitable[int]]:
    """A server that was paused: it stores what it was sent long after everybody has stopped waiting."""

    async def fate(append: Append) -> int:
        async def later() -> int:
            await asyncio.sleep(0.3)  # not a wait: how late the server is
            return await append()

        tasks.append(asyncio.create_task(later()))
        raise Unknown("no answer came in time")

    return fate


@pytest.mark.parametrize("kind", ["with effect", "without effect", "late effect"])
@pytest.mark.parametrize("most", [1, 7, 1000])
async def test_no_execution_starts_twice_when_an_outcome_is_unknown(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, kind: str, most: int
) -> None:
    """In the middle of a pass an append has no answer: what was appended before it is not said again."""
    monkeypatch.setattr(deciding, "BATCH_LIMIT", most)
    flows = [f"flow-{number}" for number in range(FLOWS)]
    definitions = [vm("vm-0"), group(members=["vm-0"]), repository(), *map(flow, flows)]
    await engine.log.append([sent(one, id=f"d{number}") for number, one in enumerate(definitions)], expect={})
    await engine.log.append([sent(due(one), id=f"due:{one}") for one in flows], expect={})
    tasks: list[asyncio.Task[int]] = []
    fates = {"with effect": with_effect, "without effect": without_effect, "late effect": late_effect(tasks)}

    async def fate(number: int, append: Append) -> int:
        return await fates[kind](append) if number in {1, 3, 4, 9} else await append()

    executor = Executor()
    await executor.open(UncertainLog(engine.log, fate), None)  # type: ignore[arg-type]
    running = asyncio.create_task(executor.run())
    try:
        await engine.until("flow.started.*", FLOWS)
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, int | Exception)
        await asyncio.gather(engine.until("backup.requested.>", 1))
        started = [one.execution_id for one in await engine.messages("flow.started.*")]
        assert len(started) == len(set(started)) == FLOWS
        requested = [one.backup_id for one in await engine.messages("backup.requested.>")]
        assert len(requested) == len(set(requested))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_a_paused_scheduler_fires_after_a_change_is_skipped(engine: Engine) -> None:
    """It decided, was stopped, and spoke when the disabling of its flow had long been acknowledged."""
    time = now().replace(second=30, microsecond=0)
    clock = [time]
    async with engine.running(Registry(), Executor()):
        await engine.log.append(
            [
                sent(one, id=f"d{number}", time=time - timedelta(hours=1))
                for number, one in enumerate(
                    [
                        *(vm("vm-0"), group(members=["vm-0"]), repository()),
                        schedule(cron_expression="* * * * *", armed_at=time - timedelta(hours=1)),
                        flow("flow", schedule_id="schedule-1", armed_at=time),
                    ]
                )
            ],
            expect={},
        )
        paused, resumed = asyncio.Event(), asyncio.Event()

        async def fate(number: int, append: Append) -> int:
            if number == 1:
                paused.set()
                await resumed.wait()
            return await append()

        scheduler = Scheduler(lambda: clock[0], max_offset=None)
        await scheduler.open(UncertainLog(engine.log, fate), None)  # type: ignore[arg-type]
        clock[0] = time + timedelta(minutes=1)  # one occurrence has passed; another one will, while it is paused
        running = asyncio.create_task(scheduler.run())
        try:
            await paused.wait()
            disabling = sent(c.DisableFlow(id="flow"), id="disable", time=time - timedelta(seconds=10), actor="eve")
            await engine.log.publish_once(disabling)
            await engine.until("catalog.flow.*", 2)
            resumed.set()
            (skipped,) = await engine.until("flow.skipped.*")
            assert skipped.reason == "definition_changed"
            assert await engine.messages("flow.started.*") == []
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_a_stale_answer_is_refused_when_another_executor_has_given_one(engine: Engine) -> None:
    """Two executors that rest on different pasts: one answers the trigger, and the other one's word finds no room."""
    async with engine.running(Registry()):
        await built(engine, house(vms=0))
    blocked, go = asyncio.Event(), asyncio.Event()

    async def fate(number: int, append: Append) -> int:
        if number == 1:
            blocked.set()
            await go.wait()
        return await append()

    stale = Executor()
    await stale.open(UncertainLog(engine.log, fate), None)  # type: ignore[arg-type]
    running = asyncio.create_task(stale.run())
    try:
        await engine.ask(c.ExecuteFlow(id="flow"))
        await blocked.wait()  # it is about to start the execution
        await engine.log.publish_once(sent(c.UpdateFlow(id="flow", patch=FlowPatch(name="other")), id="x", time=now()))
        async with engine.running(Executor()):
            await engine.until("flow.completed.*")
            go.set()

            async def read_back() -> bool:
                return stale._decider.position >= await engine.log.last_sequence("flow.completed.*")

            await eventually(read_back)
        assert len(await engine.messages("flow.started.*")) == 1
        assert len(await engine.messages("flow.completed.*")) == 1
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    "lowering",
    [
        c.UpdateSettings(id="engine", patch=SettingsPatch(max_concurrent_jobs=1)),
        c.UpdateRepository(id="repository", patch=RepositoryPatch(max_concurrent_jobs=1)),
    ],
    ids=["in all", "of the repository"],
)
async def test_what_was_admitted_before_a_limit_was_lowered_is_not_requested_behind_it(
    engine: Engine, lowering: c.Command
) -> None:
    """An executor decided, was stopped, and went on when the lower limit had long been acknowledged."""
    paused, resumed = asyncio.Event(), asyncio.Event()

    async def fate(number: int, append: Append) -> int:
        if number == 1:
            paused.set()
            await resumed.wait()
        return await append()

    async with engine.running(Registry()):
        await built(engine, house(vms=3))
        executor = Executor()
        await executor.open(UncertainLog(engine.log, fate), None)  # type: ignore[arg-type]
        running = asyncio.create_task(executor.run())
        try:
            await engine.ask(c.ExecuteFlow(id="flow"))
            await paused.wait()
            (position,) = await engine.ask(lowering)
            await eventually(lambda: _is_defined(engine, after=position))
            resumed.set()
            requests = await engine.until("backup.requested.>")
            assert len(requests) == 1
        finally:
            await cancel_and_wait(running)


async def _is_defined(engine: Engine, *, after: int) -> bool:
    return await engine.log.last_sequence("catalog.*.*") > after


@pytest.mark.parametrize("late", [False, True])
async def test_what_another_executor_has_seen_meanwhile_is_not_said_again(engine: Engine, late: bool) -> None:
    """Two have seen an abandoned request; the second one reads what the first says while it asks for its guard."""
    async with engine.running(Registry(), Executor()):
        await built(engine, house(vms=2))
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("backup.requested.>", 2)
    second = Executor()

    class Rival:
        """The log, on which another executor says what is abandoned before this one knows who was last."""

        def __getattr__(self, name: str) -> Any:
            return getattr(engine.log, name)

        async def last_sequence(self, subject: str) -> int:
            before = await engine.log.last_sequence(subject)
            if subject == guard_of(seen):
                first = await engine.log.append([sent(seen, id=id_of(seen), time=now())], expect={subject: 0})
                await eventually(lambda: second._decider.position >= first)
            return before if late else await engine.log.last_sequence(subject)

    await second.open(Rival(), None)  # type: ignore[arg-type]
    running = asyncio.create_task(second.run())
    try:
        one, other = await eventually(second._outstanding)
        seen = abandonment(one)
        assert not await second._abandon(one)
        assert await second._abandon(other)
        assert await engine.messages("backup.abandoned.>") == [seen, abandonment(other)]
    finally:
        await cancel_and_wait(running)
