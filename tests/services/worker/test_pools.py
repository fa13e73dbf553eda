"""Backups run only where their labels allow it: workers of two sites on a real server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bus.log import Log
from bus.stream import queue_of
from schemas import commands as c
from schemas.definitions import RepositoryPatch, VmPatch
from schemas.events import BackupRequested, BackupStarted
from schemas.labels import canonical, pool_of
from services import pools
from services.executor.app import Executor
from services.registry.app import Registry
from services.setup import app as setup_app
from services.setup.app import Setup
from services.worker import queues
from services.worker.app import Worker
from services.worker.status import PREFIX
from tests.services.conftest import Engine
from tests.services.house import built
from tests.services.worker.sites import FAST, SITES, house
from tests.support import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "LOOK_EVERY", 0.2)


@contextlib.asynccontextmanager
async def deciding(engine: Engine) -> AsyncIterator[None]:
    async with engine.running(Setup(), Registry(), Executor()):
        await built(engine, house())
        yield


def worker(name: str, **labels: str) -> Worker:
    return Worker(worker_id=name, labels=labels)


async def begun(engine: Engine, count: int) -> dict[str, str]:
    """Return who began the backups of each flow."""
    found: list[BackupStarted] = await engine.until("backup.started.>", count)
    return {one.flow_id: one.worker for one in found}


async def test_each_backup_runs_only_where_it_may(engine: Engine) -> None:
    async with deciding(engine), engine.running(worker("a", site="a")), engine.running(worker("b", site="b")):
        async with engine.running(worker("b-fast", site="b", tier="fast")):
            flows = [one.id for one in house() if isinstance(one, c.CreateFlow) and one.id != "vm-fast-repo-a"]
            await engine.ask(*(c.ExecuteFlow(id=flow) for flow in flows))
            await engine.until("flow.completed.*", len(flows))
        requests: list[BackupRequested] = await engine.messages("backup.requested.>")
        required = {one.backup_id: one.worker_labels for one in requests}
        labels = {"a": SITES["a"], "b": SITES["b"], "b-fast": {**SITES["b"], **FAST}}
        for one in await engine.messages("backup.started.>"):
            assert required[one.backup_id].items() <= labels[one.worker].items(), (one.flow_id, one.worker)
        expected: list[dict[str, str]] = [{}, *SITES.values(), FAST, labels["b-fast"]]
        assert sorted(map(canonical, required.values())) == sorted(map(canonical, expected))


async def test_what_nobody_may_serve_waits_until_one_comes_who_may(engine: Engine) -> None:
    async with deciding(engine), engine.running(worker("a", site="a"), worker("none")):
        await engine.ask(c.ExecuteFlow(id="vm-fast-repo-b"), c.ExecuteFlow(id="vm-repo-a"))
        assert await begun(engine, 1) == {"vm-repo-a": "a"}
        async with engine.running(worker("b", site="b"), worker("fast", tier="fast")):
            await engine.ask(c.ExecuteFlow(id="vm-repo-b"))
            assert await begun(engine, 2) == {"vm-repo-a": "a", "vm-repo-b": "b"}, "none of these has both labels"
        async with engine.running(worker("both", site="b", tier="fast", more="x")):
            assert (await begun(engine, 3))["vm-fast-repo-b"] == "both"
            await engine.until("flow.completed.*", 3)


async def test_what_waits_follows_the_labels_when_they_change(engine: Engine) -> None:
    async with deciding(engine), engine.running(worker("a", site="a")):
        await engine.ask(c.ExecuteFlow(id="vm-repo-b"))
        await engine.until("backup.requested.>")
        await engine.ask(c.UpdateRepository(id="repo-b", patch=RepositoryPatch(worker_labels=SITES["a"])))
        assert await begun(engine, 1) == {"vm-repo-b": "a"}
        await engine.until("flow.completed.*")
        # the request that was made first is still there, for whoever has its labels: it counts no more
        old = queue_of(pool_of(SITES["b"]))
        async with engine.running(worker("b", site="b")):

            async def acknowledged() -> bool:
                return (await engine.log.queue(old)).pending == 0

            await eventually(acknowledged)
        assert len(await engine.messages("backup.started.>")) == 1


async def test_a_request_that_counts_no_more_is_not_carried_out_by_those_it_was_for(engine: Engine) -> None:
    async with deciding(engine):
        await engine.ask(c.ExecuteFlow(id="vm-repo-b"))
        await engine.until("backup.requested.>")
        await engine.ask(c.UpdateVm(id="vm", patch=VmPatch(worker_labels=FAST)))
        await engine.until("backup.requested.>", 2)
        async with engine.running(worker("b", site="b")):

            async def acknowledged() -> bool:
                return await engine.log.acknowledged(queue_of(pool_of(SITES["b"]))) > 0

            await eventually(acknowledged)
            assert await engine.messages("backup.started.>") == []
            async with engine.running(worker("both", site="b", tier="fast")):
                assert await begun(engine, 1) == {"vm-repo-b": "both"}
                await engine.until("flow.completed.*")


async def test_labels_are_in_the_status_of_a_worker(engine: Engine) -> None:
    async with engine.running(worker("one", site="a", tier="fast")):

        async def published() -> bool:
            statuses = await engine.log.statuses(PREFIX)
            return [one.value["labels"] for one in statuses.values()] == [{"site": "a", "tier": "fast"}]

        await eventually(published)


async def test_a_queue_that_nobody_needs_any_more_goes_and_comes_again_without_what_is_over(
    engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_app, "RETIRE_EVERY", 0.2)
    queue = queue_of(pool_of(SITES["a"]))

    async def there() -> bool:
        return await log.queue_names("worker-") == [queue.name]

    async def gone() -> bool:
        return await log.queue_names("worker-") == []

    async with deciding(engine):
        await engine.ask(c.ExecuteFlow(id="vm-repo-a"))
        await eventually(there)
        monkeypatch.setattr(pools, "IDLE", timedelta())
        async with engine.running(worker("a", site="a")):
            await engine.until("flow.completed.*")
            await eventually(gone)
            await engine.ask(c.ExecuteFlow(id="vm-repo-a"))
            await engine.until("flow.completed.*", 2)
    assert [one.worker for one in await engine.messages("backup.started.>")] == ["a", "a"]
