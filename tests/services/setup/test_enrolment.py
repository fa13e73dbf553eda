"""Enrolled workers on a real server: each is who it is, may do what its labels allow, and is cut off when revoked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bus.log import Log
from bus.server import Server
from schemas import commands as c
from services.executor.app import Executor
from services.hosting import host
from services.registry.app import Registry
from services.setup import revocation
from services.worker import queues
from services.worker.app import Worker
from services.worker.status import PREFIX
from tests.services.conftest import Engine
from tests.services.house import built
from tests.services.setup.enrolled import enrol, running, vouching
from tests.services.worker.sites import SITES, house
from tests.support import T0

REVOKED = {"version": 2, "revoked_at": T0, "revoked_by": "eve"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "LOOK_EVERY", 0.2)
    monkeypatch.setattr(revocation, "AGAIN", 0.5)


@pytest.fixture
async def setup(server: Server, log: Log) -> AsyncIterator[None]:
    """A set-up that vouches for workers runs."""
    stop, started = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(host(vouching(server), server.url, stop, on_start=lambda _: started.set()))
    await asyncio.wait_for(started.wait(), 20)
    yield
    stop.set()
    await task


async def test_an_enrolled_worker_takes_what_its_labels_allow(engine: Engine, setup: None) -> None:
    await enrol(engine.log, "at-a", labels=SITES["a"])
    await enrol(engine.log, "at-b", labels=SITES["b"])
    async with engine.running(Registry(), Executor()):
        await built(engine, house())
        a = Worker(enrolment="at-a", labels=SITES["a"])
        async with running(engine.server, "at-a", a), running(engine.server, "at-b"):
            await engine.ask(c.ExecuteFlow(id="vm-repo-a"))
            await engine.until("flow.completed.*")
        (began,) = await engine.messages("backup.started.>")
        assert began.worker.startswith("at-a.")
    keys = await engine.log.statuses(PREFIX)
    assert [key.split(".")[1] for key in sorted(keys)] == ["at-a", "at-b"]
    assert [one.value["enrolment"] for _, one in sorted(keys.items())] == ["at-a", "at-b"]
