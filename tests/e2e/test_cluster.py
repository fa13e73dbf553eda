"""compose.yaml with three servers: who leads the log is killed under load, then the database, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from nats.errors import Error as NatsError

from bus.connection import Connection, connect
from bus.identities import OPERATOR
from bus.log import Log
from bus.subjects import STREAM
from tests.composed import Composed, Part
from tests.databases import postgresql_process
from tests.e2e.load import Failover
from tests.made import flow
from tests.support import eventually, wait_until

pytestmark = pytest.mark.server

KILLS = int(os.environ.get("FLOWS_TEST_LEADER_KILLS", "2"))  # five, when there is time
DATABASE_GONE = float(os.environ.get("FLOWS_TEST_DATABASE_GONE", "3"))  # seconds; thirty, when there is time
EXECUTIONS = 20  # under way, at least, when a leader is killed
FLOWS_UNDER_LOAD = 5
VMS = 4
PATIENCE = 90.0  # seconds


class Load(threading.Thread):
    """Runs flows by hand one after the other; asks again with the same key until the API has taken the request."""

    def __init__(self, urls: list[str], token: str, flows: list[str]) -> None:
        super().__init__(daemon=True)
        self.accepted: dict[str, str] = {}  # execution id to flow id
        self.over = threading.Event()
        self._http = httpx.Client(
            base_url="http://api/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
            transport=Failover(urls),
        )
        self._flows = flows

    def run(self) -> None:
        number = 0
        while not self.over.is_set():
            flow_id = self._flows[number % len(self._flows)]
            execution_id = self._execute(flow_id)
            assert execution_id not in self.accepted
            self.accepted[execution_id] = flow_id
            number += 1
            time.sleep(0.05)  # not a wait: the pace of the load
        self._http.close()

    async def goes_on(self, more: int = EXECUTIONS) -> None:
        """Wait until so many more requests are taken."""
        enough = len(self.accepted) + more
        await eventually(lambda: len(self.accepted) >= enough, within=PATIENCE)

    def _execute(self, flow_id: str) -> str:
        key = uuid4().hex

        def taken() -> str | None:
            with suppress(httpx.TransportError):
                response = self._http.post(f"/protection-flows/{flow_id}/execute", headers={"Idempotency-Key": key})
                assert response.status_code in {202, 503}, response.text
                return response.json().get("id") if response.status_code == 202 else None
            return None

        return str(wait_until(taken, within=PATIENCE, why=lambda: f"nobody runs {flow_id}"))


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Composed]:
    with postgresql_process() as postgresql, Composed(tmp_path, postgresql, profile="cluster") as composed:
        yield composed


@asynccontextmanager
async def minded(composed: Composed) -> AsyncIterator[None]:
    """Start what has ended again, as `restart: always` does."""

    async def mind() -> None:
        while True:
            composed.mind()
            await asyncio.sleep(0.2)  # not a wait: how often it looks

    minding = asyncio.create_task(mind())
    yield
    minding.cancel()
    with suppress(asyncio.CancelledError):
        await minding


async def leader(client: Connection, composed: Composed) -> Part | None:
    """Return who leads the log, once all replicas of it are there and have all of it."""
    try:
        found = (await client.jetstream(timeout=2).stream_info(STREAM)).cluster
    except (TimeoutError, NatsError):
        return None
    whole = found and found.leader and all(one.current and not one.offline for one in found.replicas or [])
    if not (found and whole and len(found.replicas or []) == 2):
        return None
    return next(part for part in composed.servers if part.name == found.leader)


async def completed(log: Log) -> int:
    return len(await log.read(["flow.completed.*"]))


@pytest.mark.timeout(240 + 60 * KILLS + 2 * DATABASE_GONE)
async def test_the_leader_killed_again_and_again_and_then_the_database_loses_nothing(
    composed: Composed, tmp_path: Path
) -> None:
    api = composed.client()
    await asyncio.to_thread(api.until_ready)
    fields: dict[str, Any] = {"vms": VMS, "config": {"seconds": 0.2}, "overlap_policy": "allow"}
    flows = [(await asyncio.to_thread(flow, api, f"flow {n}", **fields))["id"] for n in range(FLOWS_UNDER_LOAD)]
    client = await connect(composed.nats_url, OPERATOR)
    async with minded(composed):
        load = Load(composed.urls, composed.token, flows)
        load.start()
        await load.goes_on()
        for _ in range(KILLS):
            killed = await eventually(lambda: leader(client, composed), within=PATIENCE)
            composed.kill(killed)
            await load.goes_on()
            composed.start(killed)
        assert await eventually(lambda: leader(client, composed), within=PATIENCE)
        log = Log(client)
        before = len(load.accepted), await completed(log)
        composed.database.kill()
        began = time.monotonic()
        await eventually(lambda: over(log, before[1]), within=PATIENCE)  # what is under way needs no database
        await asyncio.sleep(max(0.0, DATABASE_GONE - (time.monotonic() - began)))  # not a wait: for so long it is gone
        composed.database.start()
        gone = time.monotonic() - began
        await load.goes_on()
        load.over.set()
        await asyncio.to_thread(load.join)
        for execution_id in load.accepted:
            ended = await asyncio.to_thread(api.ended, execution_id, PATIENCE)
            assert (ended["status"], ended["jobs_completed"]) == ("success", VMS)
        for flow_id in flows:
            expected = sum(one == flow_id for one in load.accepted.values())
            status = (await asyncio.to_thread(api.get, f"/protection-flows/{flow_id}"))["status"]
            assert (status["total_executions"], status["successful_executions"]) == (expected, expected)
        # the bucket with the heartbeats has lost its leader too, and elects one of its own
        checked = await eventually(lambda: asyncio.to_thread(well, composed), within=PATIENCE)
        assert "✗" not in checked
        rebuilt = str(tmp_path / "rebuilt.db")
        await asyncio.to_thread(composed.flows, "rebuild", "--into", rebuilt)
        compared = await asyncio.to_thread(composed.flows, "diff", composed.database.own_url, rebuilt)
        assert compared.returncode == 0, compared.stdout + compared.stderr
    api.close()
    entries = await log.read([">"])
    await client.close()
    pauses = sorted((after.stored_at - one.stored_at).total_seconds() for one, after in pairwise(entries))
    print(
        f"{KILLS} leaders killed, and the database for {gone:.0f} s: {len(load.accepted)} executions, {len(entries):,} "
        f"messages; the longest pauses were {[round(one, 1) for one in reversed(pauses[-KILLS:])]} s; "
        f"restarts: {dict(composed.restarts)}"
    )


async def over(log: Log, before: int) -> bool:
    return await completed(log) > before


def well(composed: Composed) -> str:
    checked = composed.flows("doctor")
    return checked.stdout if checked.returncode == 0 else ""
