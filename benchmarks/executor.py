"""The executor as a process of its own, over 10,000 VMs in one flow: dispatch, memory, and a restart in the middle."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from bus.clock import now
from bus.connection import connect
from bus.envelope import envelope
from bus.log import Log
from bus.server import Server
from bus.setup import declare_at
from schemas.base import Message
from schemas.commands import ExecuteFlow
from schemas.definitions import Flow, Group, Member, Repository, Vm
from schemas.events import (
    BackupRequested,
    BackupSkipped,
    FlowDefined,
    GroupDefined,
    RepositoryDefined,
    VmDefined,
)
from tests.servers import root, server_in

VMS = 10_000
ROUNDS = 3


def definitions(limit: int | None) -> list[Message]:
    names = [f"vm-{number}" for number in range(VMS)]
    born = {"version": 1, "created_at": now(), "updated_at": now(), "created_by": "bench"}
    flow = Flow(
        id="f",
        name="f",
        flow_type="backup",
        target_type="group",
        target_id="g",
        repository_id="r",
        max_concurrent_jobs=limit,
        armed_at=now(),
        **born,
    )
    group = Group(id="g", name="g", members=[Member(context_id=name) for name in names], **born)
    repository = Repository(id="r", name="r", type="simulated", location="/x", **born)
    return [
        *(VmDefined(id=name, version=1, definition=Vm(id=name, vm_name=name, **born)) for name in names),
        GroupDefined(id="g", version=1, definition=group),
        RepositoryDefined(id="r", version=1, definition=repository),
        FlowDefined(id="f", version=1, definition=flow),
    ]


class Bench:
    """A log with the definitions on it, and an executor's process."""

    def __init__(self, server: Server, log: Log) -> None:
        self.server = server
        self.log = log

    def start(self) -> subprocess.Popen[bytes]:
        env = {**os.environ, "FLOWS_NATS_URL": self.server.url}
        command = [sys.executable, "-m", "cli.main", "serve", "executor"]
        return subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)

    async def requested(self, count: int, within: float = 60) -> None:
        """Wait until so many requests are durable."""
        deadline = time.perf_counter() + within
        # the first one stands behind the definitions, the command, started, and five parts of the plan
        while await self.log.last_sequence("backup.requested.f") < VMS + 3 + 1 + 1 + 5 + count:
            assert time.perf_counter() < deadline, "the requests do not come"
            await asyncio.sleep(0.005)

    async def execute(self) -> None:
        sent = envelope(ExecuteFlow(id="f"), id=str(uuid4()), source="bench", time=now(), actor="bench")
        await self.log.publish_once(sent)


@asynccontextmanager
async def bench(limit: int | None = None) -> AsyncIterator[Bench]:
    with tempfile.TemporaryDirectory() as folder:
        server = server_in(Path(folder))
        server.start()
        client = await connect(root(server), "bench")
        try:
            await declare_at(server.url)
            log = Log(client)
            events = [
                envelope(one, id=f"d{number}", source="bench", time=now())
                for number, one in enumerate(definitions(limit))
            ]
            for start in range(0, len(events), 1000):
                await log.append(events[start : start + 1000], expect={})
            yield Bench(server, log)
        finally:
            await client.close()
            server.stop()


async def dispatch() -> tuple[float, float]:
    """Return requests a second, from `execute` to the last durable one, and the executor's highest memory in MB."""
    async with bench() as it:
        process = it.start()
        await asyncio.sleep(4)  # it starts, and folds the definitions
        begun = time.perf_counter()
        await it.execute()
        await it.requested(VMS)
        rate = VMS / (time.perf_counter() - begun)
        await asyncio.sleep(1)  # it reads its own words
        status = Path(f"/proc/{process.pid}/status").read_text()
        memory = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        process.terminate()
        process.wait()
        return rate, memory


async def restart() -> float:
    """Return the seconds from the start of a process, after a kill in the middle, to the next request it makes."""
    async with bench(limit=VMS // 2) as it:
        process = it.start()
        await it.execute()
        await it.requested(VMS // 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        (request, *_) = await it.log.read(["backup.requested.f"])
        asked = request.envelope.data  # type: ignore[union-attr]
        assert isinstance(asked, BackupRequested)
        about = {field: getattr(asked, field) for field in ("flow_id", "execution_id", "backup_id", "context_id")}
        freed = BackupSkipped(**about, reason="to free a slot")
        await it.log.append([envelope(freed, id="freed", source="bench", time=now())], expect={})
        before = await it.log.last_sequence("backup.requested.f")
        begun = time.perf_counter()
        process = it.start()
        while await it.log.last_sequence("backup.requested.f") == before:  # noqa: ASYNC110  a reader would compete
            await asyncio.sleep(0.005)
        took = time.perf_counter() - begun
        process.terminate()
        process.wait()
        return took


async def executor() -> dict[str, list[float]]:
    """Return the figures of each round."""
    dispatched = [await dispatch() for _ in range(ROUNDS)]
    return {
        "requests a second, from execute to the last durable one": [rate for rate, _ in dispatched],
        "highest memory, MB": [memory for _, memory in dispatched],
        "restart with 5,000 in flight and 5,000 waiting, s": [await restart() for _ in range(ROUNDS)],
    }
