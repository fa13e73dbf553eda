"""Worker processes that are killed and paused, and a server that is killed: one outcome each."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from bus import setup, stream
from bus.stream import WORKER_QUEUE
from schemas import commands as c
from schemas.definitions import Disk, RepositorySpec, VmSpec
from services.executor.app import Executor
from services.registry.app import Registry
from tests.proxy import Proxy
from tests.running import ROOT
from tests.services.conftest import Engine
from tests.services.house import built, house
from tests.support import eventually

LEASE = 3.0
SERVE = f"""
from msgspec import structs
from bus import setup, stream
stream.WORKER_QUEUE = structs.replace(stream.WORKER_QUEUE, ack_wait={LEASE})
from cli.main import main
main()
"""


class Workers:
    """Worker processes on the engine's server, by the order in which they were started."""

    def __init__(self, nats_url: str) -> None:
        self.env = {**os.environ, "FLOWS_NATS_URL": nats_url, "FLOWS_WORKER_SLOTS": "4"}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, "serve", "worker"], cwd=ROOT, env=self.env, stderr=subprocess.DEVNULL
        )
        self.processes.append(process)
        return process

    def kill(self) -> None:
        """Kill the newest one."""
        self.processes[-1].kill()
        self.processes[-1].wait()


@pytest.fixture(autouse=True)
def lease(monkeypatch: pytest.MonkeyPatch) -> None:
    short = structs.replace(WORKER_QUEUE, ack_wait=LEASE)
    monkeypatch.setattr(stream, "WORKER_QUEUE", short)
    monkeypatch.setattr(setup, "QUEUES", (short,))


@pytest.fixture
def workers(lease: None, engine: Engine) -> Iterator[Workers]:
    workers = Workers(engine.server.url)
    yield workers
    for process in workers.processes:
        process.kill()
        process.wait()


async def test_killed_workers_and_a_killed_server_leave_no_backup_running(engine: Engine, workers: Workers) -> None:
    """The server dies as it gives the work of a dead worker to the next one, which dies soon after it."""
    async with engine.running(Registry(), Executor()):
        await built(engine, house(vms=4, config={"seconds": LEASE * 1.5}))
        workers.start()
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("backup.started.>", 4)
        workers.kill()
        workers.start()
        await engine.until("backup.started.>", 8)
        engine.server.kill()
        await asyncio.to_thread(engine.server.start)
        await asyncio.sleep(0.55 * LEASE)  # not a wait: the moment of the fault
        workers.kill()
        workers.start()
        (end,) = await engine.until("flow.completed.*", within=12 * LEASE)
    assert (end.status, end.jobs_completed) == ("success", 4)
    await once(engine, 4)


async def test_a_killed_server_gives_nobody_what_a_live_worker_holds(engine: Engine, workers: Workers) -> None:
    """It has forgotten who has what: messages come again, to this worker and to another one."""
    async with engine.running(Registry(), Executor()):
        await built(engine, house(vms=4, config={"seconds": LEASE * 4}))
        workers.start()
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("backup.started.>", 4)
        workers.start()
        for _ in range(2):
            engine.server.kill()
            await asyncio.to_thread(engine.server.start)
        (end,) = await engine.until("flow.completed.*", within=12 * LEASE)
    assert (end.status, end.jobs_completed) == ("success", 4)
    assert {begun.attempt for begun in await engine.messages("backup.started.>")} == {1}
    await once(engine, 4)


async def test_a_paused_worker_does_not_take_the_next_one_its_message_away(engine: Engine, workers: Workers) -> None:
    """It goes on with a result to report at once. The next one dies soon after, and its work must come again."""
    async with engine.running(Registry(), Executor()):
        await built(engine, house(vms=1, config={"seconds": LEASE}))
        paused = workers.start()
        await engine.ask(c.ExecuteFlow(id="flow"))

        async def nearly_done() -> bool:
            return any(one.percent > 60 for one in await engine.messages("backup.progressed.>"))

        await eventually(nearly_done)
        os.kill(paused.pid, signal.SIGSTOP)
        workers.start()
        await engine.until("backup.started.>", 2, within=6 * LEASE)
        os.kill(paused.pid, signal.SIGCONT)
        await asyncio.sleep(LEASE / 3)  # not a wait: the moment of the fault, at which the next one is at work
        workers.kill()
        (end,) = await engine.until("flow.completed.*", within=8 * LEASE)
        assert (end.status, end.jobs_completed) == ("success", 1)
        assert [done.attempt for done in await engine.messages("backup.completed.>")] == [3]
    await once(engine, 1)


async def test_a_worker_that_dies_in_the_middle_of_what_is_cancelled_leaves_nothing(
    engine: Engine, workers: Workers, tmp_path: Path
) -> None:
    disk, repository = tmp_path / "disk.raw", tmp_path / "repository"
    repository.mkdir()
    with disk.open("wb") as out:
        for _ in range(1000):
            out.write(os.urandom(1 << 20))
    commands = house(vms=1)
    commands[0] = c.CreateVm(id="vm-0", spec=VmSpec(vm_name="vm", disks=[Disk(disk_id="d", path=str(disk))]))
    spec = RepositorySpec(name="repository", type="directory", location=str(repository))
    commands[2] = c.CreateRepository(id="repository", spec=spec)
    async with engine.running(Registry(), Executor()):
        await built(engine, commands)
        workers.start()
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("backup.progressed.>")
        workers.kill()
        assert list(repository.rglob(".partial-*"))
        (started,) = await engine.messages("flow.started.*")
        await engine.ask(c.CancelExecution(id=started.execution_id))
        workers.start()
        (end,) = await engine.until("flow.completed.*", within=6 * LEASE)
        assert end.status == "cancelled"
        await acknowledged(engine)
    assert list(repository.iterdir()) == []


@pytest.mark.parametrize("end", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
async def test_what_a_worker_did_before_it_ended_without_a_connection_counts(
    engine: Engine, workers: Workers, tmp_path: Path, end: signal.Signals
) -> None:
    """It had finished, and could not say so: the next process does, and nothing is done again."""
    outbox = tmp_path / "state" / "outbox"
    async with Proxy(engine.server.url).open() as link, engine.running(Registry(), Executor()):
        workers.env |= {"FLOWS_NATS_URL": link.url, "FLOWS_STATE_DIR": str(tmp_path / "state")}
        await built(engine, house(vms=2, config={"seconds": 1.0}))
        workers.start()
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("backup.started.>", 2)
        link.cut()
        await eventually(lambda: len(list(outbox.glob("*.jsonl"))) == 2)
        workers.processes[-1].send_signal(end)
        await asyncio.to_thread(workers.processes[-1].wait)
        await link.mend()
        workers.start()
        (completed,) = await engine.until("flow.completed.*", within=12 * LEASE)
        assert (completed.status, completed.jobs_completed) == ("success", 2)
        assert {begun.attempt for begun in await engine.messages("backup.started.>")} == {1}
        await once(engine, 2)
    assert list(outbox.iterdir()) == []


async def acknowledged(engine: Engine) -> None:
    """Wait until no request is left on the queue."""

    async def none_left() -> bool:
        info = await engine.log._js.consumer_info(stream.STREAM, WORKER_QUEUE.name)
        return not info.num_pending and not info.num_ack_pending

    await eventually(none_left, within=6 * LEASE)


async def once(engine: Engine, backups: int) -> None:
    """Check that each backup has one end that counts, and that no attempt began twice."""
    begun: Counter[Any] = Counter((one.backup_id, one.attempt) for one in await engine.messages("backup.started.>"))
    assert set(begun.values()) == {1}
    newest = {backup: max(n for one, n in begun if one == backup) for backup, _ in begun}
    ends = Counter(
        one.backup_id for one in await engine.messages("backup.completed.>") if one.attempt == newest[one.backup_id]
    )
    assert ends == dict.fromkeys(newest, 1)
    assert len(newest) == backups
    await acknowledged(engine)
