"""Workers are asked to look: whoever asks gets what those say that reply in time, and waits for nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from api import inspecting
from services.worker.app import Worker
from services.worker.engines.directory.engine import DirectoryEngine
from services.worker.engines.simulated.engine import SimulatedEngine
from services.worker.inspection import SUBJECT, Inspection, RepositoryState, Seen, WorkerSeen
from services.worker.inspector import AT_ONCE
from services.worker.status import PREFIX
from tests.services.conftest import Engine, engine
from tests.support import eventually

__all__ = ["engine"]

LOOK = Inspection(engine="simulated", location="/x", config={})


class Hanging(SimulatedEngine):
    """An engine on a file system that hangs."""

    looks = 0

    async def inspect(self, inspection: Inspection) -> Seen:
        self.looks += 1
        await asyncio.Event().wait()
        return await super().inspect(inspection)


class Broken(SimulatedEngine):
    async def inspect(self, inspection: Inspection) -> Seen:
        raise ValueError("a defect")


async def asked(engine: Engine, look: Inspection = LOOK, *, everyone: bool = False) -> list[WorkerSeen]:
    return await inspecting.inspect(engine.log, look, everyone=everyone)


async def present(engine: Engine, number: int) -> None:
    """Wait until so many workers are there."""

    async def there() -> bool:
        return len(await engine.log.statuses(PREFIX)) >= number

    await eventually(there, why=f"{number} workers")


async def test_without_a_worker_nobody_is_waited_for(engine: Engine) -> None:
    async with asyncio.timeout(inspecting.PATIENCE):
        found = await asked(engine)
    assert found == []
    assert inspecting.warnings(found) == [inspecting.NOBODY]
    assert inspecting.unusable(found) is None


async def test_one_who_sees_all_well_is_enough_unless_everyone_is_asked(engine: Engine) -> None:
    async with engine.running(Worker(worker_id="one"), Worker(worker_id="two")):
        await present(engine, 2)
        (first,) = await asked(engine)
        assert first.worker in {"one", "two"}
        assert [one.worker for one in await asked(engine, everyone=True)] == ["one", "two"]
        assert inspecting.warnings([first]) == []


async def test_who_sees_it_otherwise_is_named(engine: Engine, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    sees, does_not = DirectoryEngine(), DirectoryEngine(own=[str(store)])
    workers = [Worker(worker_id=name, engines={"directory": one}) for name, one in (("a", sees), ("b", does_not))]
    async with engine.running(*workers):
        await present(engine, 2)
        found = await asked(engine, Inspection(engine="directory", location=str(store), config={}), everyone=True)
        (warning,) = inspecting.warnings(found)
        assert warning.endswith("(so says worker b)")
        assert inspecting.unusable(found) is None, "another one can use it"
        found = await asked(engine)
        problem = "it has no engine 'simulated'"
        assert inspecting.warnings(found) == [f"{problem} (so says worker a, b)"]
        assert inspecting.unusable(found) == problem


async def test_a_worker_that_hangs_is_not_waited_for(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspecting, "PATIENCE", 0.2)
    hanging = Hanging()
    worker = Worker(worker_id="one", engines={"simulated": hanging})
    async with engine.running(worker):
        await present(engine, 1)
        for _ in range(AT_ONCE + 2):
            assert await asked(engine) == []
        assert hanging.looks == AT_ONCE, "no more than these hang at once"


async def test_a_defect_and_nonsense_end_nobody(engine: Engine) -> None:
    async with engine.running(Worker(worker_id="one", engines={"simulated": Broken()})):
        await present(engine, 1)
        await engine.log._client.publish(SUBJECT, b"{ nothing", reply="nowhere")
        (found,) = await asked(engine)
        assert found.repository == RepositoryState(problem="it could not look: ValueError: a defect")
