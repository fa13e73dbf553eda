"""Real processes, killed with -9 in the middle of their work: every execution ends, and nothing is done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bus.stream import WORKER_QUEUE
from tests.api.test_contract import flow
from tests.running import FLOWS, ROOT, Client, Running


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "data", "--worker-slots", "10").start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def api(running: Running) -> Iterator[Client]:
    client = running.client()
    yield client
    client.close()


def kill(running: Running, service: str) -> None:
    subprocess.run(["pkill", "-KILL", "-P", str(running.tree()[0]), "-f", f"serve {service}"], check=True)


@pytest.mark.parametrize("service", ["executor", "worker"])
def test_killed_with_ten_vms_in_flight_all_end_in_time(running: Running, api: Client, service: str) -> None:
    made = flow(api, "flow", vms=10, config={"seconds": 3})
    started = api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)
    jobs = f"/executions/{started['id']}/jobs"
    api.until(jobs, lambda found: {job["status"] for job in found["jobs"]} == {"running"})
    killed = time.monotonic()
    kill(running, service)
    ended = api.ended(started["id"], within=90)
    assert time.monotonic() - killed < WORKER_QUEUE.ack_wait + 10
    assert (ended["status"], ended["jobs_completed"]) == ("success", 10)
    attempts = {job["attempt"] for job in api.get(jobs)["jobs"]}
    assert attempts == ({2} if service == "worker" else {1})


def test_executors_killed_at_random_request_each_backup_once(running: Running, api: Client) -> None:
    """Three executors, two of them killed again and again, while twelve flows are run."""
    flows = [flow(api, f"flow {number}", vms=4, max_concurrent_jobs=2) for number in range(12)]
    env = {**os.environ, "FLOWS_NATS_URL": running.nats_url}
    chance = random.Random(7)

    def executor() -> subprocess.Popen[bytes]:
        return subprocess.Popen([*FLOWS, "serve", "executor"], cwd=ROOT, env=env, stderr=subprocess.DEVNULL)

    extra = [executor(), executor()]
    deadline = time.monotonic() + 15
    executions: list[dict[str, Any]] = []
    with ThreadPoolExecutor(6) as pool:
        pending = list(flows)
        while pending or time.monotonic() < deadline:
            batch, pending = pending[:3], pending[3:]
            answers = pool.map(lambda one: api.http.post(f"/protection-flows/{one['id']}/execute"), batch)
            executions += [answer.json() for answer in answers if answer.status_code == 202]
            victim = chance.randrange(2)
            extra[victim].send_signal(signal.SIGKILL)
            extra[victim].wait()
            extra[victim] = executor()
            time.sleep(1 + chance.random())
    for one in flows:
        found = api.until(
            f"/protection-flows/{one['id']}/executions",
            lambda found: found["total"] and all(execution["completed_at"] for execution in found["executions"]),
        )
        assert [execution["status"] for execution in found["executions"]] == ["success"]
    for process in extra:
        process.terminate()
        process.wait()
    requested = subprocess.run(
        [*FLOWS, "log", "backup.requested", "--json"], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    ids = Counter(line.split('"id":"')[1].split('"')[0] for line in requested.stdout.splitlines())
    assert len(ids) == 12 * 4
    assert set(ids.values()) == {1}
