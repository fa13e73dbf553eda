"""Readiness tells the truth, and what hangs or is deleted heals by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from bus.connection import connect
from bus.stream import WORKER_QUEUE
from bus.subjects import STREAM
from services.health import NEEDED, SILENCE
from tests.cli.support import flows
from tests.made import flow
from tests.running import Running, paused, service
from tests.support import wait_until

pytestmark = pytest.mark.server


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "data").start()
    yield running
    assert running.stop() == 0


def ready(running: Running) -> dict[str, Any]:
    try:
        return dict(httpx.get(f"{running.url}/health/ready", timeout=5).json())
    except httpx.TransportError:
        return {"status": "no response", "services": {}}


def well(running: Running) -> bool:
    return ready(running)["status"] == "ok"


def doctor(running: Running) -> str:
    return flows("doctor", "--data", str(running.folder)).stdout


def test_services_that_hang_are_named_and_started_again(running: Running) -> None:
    assert set(ready(running)["services"].values()) == {"running"}
    pids = {name: service(running, name) for name in NEEDED}
    assert service(running, "api") not in pids.values()  # it is the one that tells
    supervisor = running.process
    assert supervisor is not None
    with paused(supervisor.pid):  # it would start them again, perhaps before a busy machine has said all this
        for pid in set(pids.values()):
            os.kill(pid, signal.SIGSTOP)
        found = wait_until(lambda: hung(running), within=19)
        said = doctor(running)
    assert found["status"] == "not ready"  # without a recorder nothing can be read that is new
    assert all(f"process {pids[name]} on " in found["parts"][name] for name in NEEDED)
    assert [name for name in NEEDED if f"✗ the {name} is hung: process {pids[name]} " in said] == list(NEEDED)
    wait_until(lambda: well(running), within=45)
    assert not set(pids.values()) & {service(running, name) for name in NEEDED}

    api = service(running, "api")
    with paused(supervisor.pid):
        os.kill(api, signal.SIGSTOP)
        time.sleep(SILENCE.total_seconds())  # not a wait: it is not hung before
        wait_until(lambda: "the api is hung" in doctor(running), within=19 - SILENCE.total_seconds())
    wait_until(lambda: well(running), within=45)
    assert service(running, "api") != api
    run(running)


def hung(running: Running) -> dict[str, Any] | None:
    """Return what readiness says once all that is needed is hung."""
    found = ready(running)
    return found if all(found["services"].get(name) == "hung" for name in NEEDED) else None


def test_deleted_consumers_are_made_again_and_nobody_spins(running: Running) -> None:
    run(running)
    pids = {service(running, name) for name in NEEDED} | {int((running.folder / "nats.pid").read_text())}
    before = sum(map(cpu_seconds, pids))
    begun = time.monotonic()
    deleted = asyncio.run(delete_consumers(running))
    assert WORKER_QUEUE.name in deleted
    assert len(deleted) > len(NEEDED)  # followers too
    wait_until(lambda: asyncio.run(exists(running)), within=30)
    time.sleep(max(0.0, begun + 8 - time.monotonic()))  # not a wait: for so long it is measured
    # one that spins takes 60 % of a core, and so does the server
    assert sum(map(cpu_seconds, pids)) - before < 0.2 * (time.monotonic() - begun)
    run(running)
    assert "✗" not in doctor(running)


def run(running: Running) -> None:
    """Run a backup to its end."""
    api = running.client()
    made = flow(api, f"flow {time.monotonic()}", config={"seconds": 0.1})
    started = api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)
    assert api.ended(started["id"])["status"] == "success"


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def delete_consumers(running: Running) -> list[str]:
    client = await connect(running.nats_url, "setup")
    try:
        js = client.jetstream()
        names = [str(one.name) for one in await js.consumers_info(STREAM)]
        for name in names:
            await js.delete_consumer(STREAM, name)
        return names
    finally:
        await client.close()


async def exists(running: Running) -> bool:
    client = await connect(running.nats_url, "setup")
    try:
        with suppress(Exception):
            return bool(await client.jetstream().consumer_info(STREAM, WORKER_QUEUE.name))
        return False
    finally:
        await client.close()
