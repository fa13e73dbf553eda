"""Three servers with users and three replicas: whoever leads the log is killed under load, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx
import pytest

from bus.log import Log
from bus.subjects import STREAM
from cli.parts import NAMES
from services import database
from tests.cluster import HOST, Cluster
from tests.made import flow
from tests.ports import reserved_port
from tests.running import FLOWS, ROOT, Client
from tests.support import eventually

pytestmark = pytest.mark.server

KILLS = int(os.environ.get("FLOWS_TEST_LEADER_KILLS", "2"))  # five, when there is time
FLOWS_UNDER_LOAD = 5
VMS = 4
PATIENCE = 60.0  # seconds


class Services:
    """Every service in a process of its own, started again when it ends, as any supervisor does."""

    def __init__(self, folder: Path, nats_url: str) -> None:
        self.folder = folder
        self.url = f"http://{HOST}:{(port := reserved_port())}"
        self.database_url = database.sqlite_url(folder / "flows.db")
        (folder / "token").write_text("token\n")
        self.env = {
            **os.environ,
            "FLOWS_NATS_URL": nats_url,
            "FLOWS_REPLICAS": "3",
            "FLOWS_DATABASE_URL": self.database_url,
            "FLOWS_ADMIN_TOKEN_FILE": str(folder / "token"),
            "FLOWS_PORT": str(port),
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.starts: Counter[str] = Counter()
        self._minding: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        database.bring_up_to_date(self.database_url)
        self._minding = asyncio.create_task(self._mind())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._minding
        self._minding.cancel()
        with suppress(asyncio.CancelledError):
            await self._minding
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            await asyncio.to_thread(process.wait, 20)

    async def _mind(self) -> None:
        while True:
            for name in NAMES:
                if name not in self.processes or self.processes[name].poll() is not None:
                    self.starts[name] += 1
                    with (self.folder / f"{name}.log").open("ab") as output:
                        self.processes[name] = subprocess.Popen(
                            [*FLOWS, "serve", name], cwd=ROOT, env=self.env, stderr=output
                        )
            await asyncio.sleep(0.2)

    def ready(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200
        return False

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*FLOWS, *arguments], cwd=ROOT, env=self.env, capture_output=True, text=True, check=False)


class Load(threading.Thread):
    """Runs flows by hand one after the other; asks again with the same key until the API has taken the request."""

    def __init__(self, url: str, flows: list[str]) -> None:
        super().__init__(daemon=True)
        self.accepted: dict[str, str] = {}  # execution id to flow id
        self.over = threading.Event()
        self._http = httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": "Bearer token"}, timeout=10)
        self._flows = flows

    def run(self) -> None:
        number = 0
        while not self.over.is_set():
            flow_id = self._flows[number % len(self._flows)]
            execution_id = self._execute(flow_id)
            assert execution_id not in self.accepted
            self.accepted[execution_id] = flow_id
            number += 1
            time.sleep(0.05)
        self._http.close()

    async def goes_on(self) -> None:
        """Wait until some more requests are taken."""
        enough = len(self.accepted) + 5
        await eventually(lambda: len(self.accepted) >= enough, within=PATIENCE)

    def _execute(self, flow_id: str) -> str:
        key = uuid4().hex
        while True:
            with suppress(httpx.TransportError):
                response = self._http.post(f"/protection-flows/{flow_id}/execute", headers={"Idempotency-Key": key})
                if response.status_code == 202 and "id" in (found := response.json()):
                    return str(found["id"])
                assert response.status_code in {202, 503}, response.text
            time.sleep(0.05)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with Cluster(tmp_path) as cluster:
        yield cluster


async def complete(cluster: Cluster) -> bool:
    """Tell whether all replicas of the log are there and have all of it."""
    with suppress(Exception):
        found = (await cluster.js.stream_info(STREAM)).cluster
        if found and found.leader and found.replicas:
            return len(found.replicas) == 2 and all(one.current and not one.offline for one in found.replicas)
    return False


@pytest.mark.timeout(120 + 60 * KILLS)
async def test_the_leader_killed_again_and_again_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    async with Services(tmp_path, cluster.url) as services:
        api = Client(services.url, "token")
        await eventually(lambda: asyncio.to_thread(services.ready), within=PATIENCE)
        fields: dict[str, Any] = {"vms": VMS, "config": {"seconds": 0.2}, "overlap_policy": "allow"}
        flows = [(await asyncio.to_thread(flow, api, f"flow {n}", **fields))["id"] for n in range(FLOWS_UNDER_LOAD)]
        before = dict(services.starts)
        load = Load(services.url, flows)
        load.start()
        for _ in range(KILLS):
            await eventually(lambda: complete(cluster), within=PATIENCE)
            leader = await eventually(cluster.leader, within=PATIENCE)
            leader.kill()
            await load.goes_on()
            leader.start()
        load.over.set()
        await asyncio.to_thread(load.join)
        for execution_id in load.accepted:
            ended = await asyncio.to_thread(api.ended, execution_id, 90)
            assert (ended["status"], ended["jobs_completed"]) == ("success", VMS)
        for flow_id in flows:
            expected = sum(one == flow_id for one in load.accepted.values())
            status = (await asyncio.to_thread(api.get, f"/protection-flows/{flow_id}"))["status"]
            assert (status["total_executions"], status["successful_executions"]) == (expected, expected)
        api.close()
        checked = await asyncio.to_thread(services.run, "doctor")
        for _ in range(30):  # the bucket with the heartbeats has lost its leader too, and elects one of its own
            if checked.returncode == 0:
                break
            checked = await asyncio.to_thread(services.run, "doctor")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        rebuilt = str(tmp_path / "rebuilt.db")
        await asyncio.to_thread(services.run, "rebuild", "--into", rebuilt)
        compared = await asyncio.to_thread(services.run, "diff", services.database_url, rebuilt)
        assert compared.returncode == 0, compared.stdout + compared.stderr
        entries = await Log(cluster.client).read([">"])
        times = [entry.stored_at for entry in entries]
        pauses = sorted((after - before).total_seconds() for before, after in pairwise(times))
        restarts = {name: count - before[name] for name, count in services.starts.items() if count > before[name]}
        print(
            f"{KILLS} leaders killed under load: {len(load.accepted)} executions, {len(entries):,} messages; "
            f"the longest pauses were {[round(one, 1) for one in reversed(pauses[-KILLS:])]} s; restarts: {restarts}"
        )
