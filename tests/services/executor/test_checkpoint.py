"""The executor's checkpoint: a restart reads little, and misses nothing that is not over."""

from __future__ import annotations

import pytest

from bus import checkpoint
from bus.log import Log
from schemas import commands as c
from schemas.definitions import SettingsPatch
from schemas.ids import ENGINE
from services import checkpoints
from services.executor.app import Executor
from services.registry.app import Registry
from services.worker.app import Worker
from tests.services.conftest import Engine
from tests.services.house import built, house
from tests.support import due, eventually, sent


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 1)


async def test_a_checkpoint_stays_behind_what_is_not_over(engine: Engine) -> None:
    async with engine.running(Registry()):
        await built(engine, house(vms=2))
    async with engine.running(Executor(), Worker()):
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("flow.completed.*")

        async def saved() -> int:
            return (await engine.log.checkpoint("executor")).position

        last = await engine.log.last_sequence("flow.completed.*")

        async def all_over() -> bool:
            return await saved() >= last

        await eventually(all_over)
    (command,) = await engine.ask(c.ExecuteFlow(id="flow"))
    async with engine.running(Executor()):
        await engine.until("backup.requested.>", 4)
    assert last <= await saved() < command + 2  # the second execution is not over
    second = Executor()
    await second.open(engine.log, None)  # type: ignore[arg-type]
    assert second._state.catalogue.flows.keys() == {"flow"}  # definitions from before the checkpoint
    assert second._state.executions == {}
    async with engine.running(Executor(), Worker()):
        await engine.until("flow.completed.*", 2)
    requested = [request.backup_id for request in await engine.messages("backup.requested.>")]
    assert len(requested) == len(set(requested)) == 4
    (first_end, second_end) = await engine.messages("flow.completed.*")
    assert (first_end.jobs_completed, second_end.jobs_completed) == (2, 2)


async def test_a_restarted_executor_reads_from_the_checkpoint_on(engine: Engine) -> None:
    async with engine.running(Registry()):
        await built(engine, house(vms=1))
    async with engine.running(Executor(), Worker()):
        for number in range(1, 4):
            await engine.ask(c.ExecuteFlow(id="flow"))
            await engine.until("flow.completed.*", number)
        last = await engine.log.last_sequence("flow.completed.*")

        async def saved() -> bool:
            return (await engine.log.checkpoint("executor")).position >= last

        await eventually(saved)
    executor = Executor()
    await executor.open(engine.log, None)  # type: ignore[arg-type]
    assert executor._decider.position >= last
    # a guard from before the checkpoint is asked for: it decides as one who had read all
    async with engine.running(Executor(), Worker()):
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("flow.completed.*", 4)
    started = await engine.messages("flow.started.*")
    assert len({one.execution_id for one in started}) == len(started) == 4


async def test_settings_from_before_the_checkpoint_count(engine: Engine) -> None:
    async with engine.running(Registry()):
        await built(engine, house(vms=3))
        await engine.ask(c.UpdateSettings(id=ENGINE, patch=SettingsPatch(max_concurrent_jobs=1)))
        await engine.until("catalog.settings.*")
    async with engine.running(Registry(), Executor(), Worker()):
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("flow.completed.*")
        await engine.ask(c.DisableVm(id="vm-0"), c.EnableVm(id="vm-0"))
        set_at = await engine.log.last_sequence("catalog.settings.*")

        async def saved() -> bool:
            positions = [(await engine.log.checkpoint(name)).position for name in ("registry", "executor")]
            return min(positions) > set_at

        await eventually(saved)
    async with engine.running(Registry(), Executor()):
        await engine.ask(c.ExecuteFlow(id="flow"))
        assert len(await engine.until("backup.requested.>", 4)) == 4  # what is admitted at the start is one batch
        await engine.ask(c.UpdateSettings(id=ENGINE, patch=SettingsPatch(max_concurrent_jobs=2), if_version=1))
        await engine.until("backup.requested.>", 5)
    (_, second) = await engine.messages("catalog.settings.*")
    assert (second.version, second.definition.max_concurrent_jobs) == (2, 2)
    assert len(await engine.messages("backup.requested.>")) == 5


async def test_a_checkpoint_of_another_stream_counts_for_nothing(log: Log) -> None:
    await log.append([sent(due(), id=f"e{number}") for number in range(8)], expect={})
    await log.save_checkpoint("executor", 7)
    assert (await log.checkpoint("executor")).position == 7
    assert (await log.checkpoint("nobody")).position == 0
    assert (await checkpoint.load(log._js, "executor", created="another time")).position == 0
    await log.save_checkpoint("executor", 9)  # the log has become shorter
    assert (await log.checkpoint("executor")).position == 0
    await (await checkpoint.bucket(log._js)).put("executor", b"no json")
    assert (await log.checkpoint("executor")).position == 0
