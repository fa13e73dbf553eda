"""Real processes, killed with -9 in the middle of their work: every execution ends, and nothing is done twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bus.stream import WORKER_QUEUE
from services.consuming import POLL
from tests.made import flow
from tests.running import APART, FLOWS, ROOT, Client, Running, paused, service
from tests.support import wait_until

pytestmark = pytest.mark.server


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "data", APART, "--worker-slots", "10").start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def api(running: Running) -> Client:
    return running.client()


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


def test_a_worker_paused_beyond_its_lease_does_not_overwrite_the_newer_attempt(running: Running, api: Client) -> None:
    made = flow(api, "flow", vms=1, config={"seconds": 5})
    with serve(running, "worker") as unsupervised:
        # `flows up` would kill its own: it is to have asked for nothing when the request comes
        with paused(service(running, "worker")):
            time.sleep(2 * POLL)  # not a wait: what it had asked for before has no effect any more
            started = api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)
            jobs = f"/executions/{started['id']}/jobs"
            (job,) = api.until(jobs, lambda found: found["jobs"][0]["status"] == "running")["jobs"]
        assert job["worker"].endswith(f"-{unsupervised.pid}")
        os.kill(unsupervised.pid, signal.SIGSTOP)
        try:
            (second,) = api.until(
                jobs, lambda found: found["jobs"][0]["attempt"] == 2, within=WORKER_QUEUE.ack_wait + 15
            )["jobs"]
        finally:
            os.kill(
                unsupervised.pid, signal.SIGCONT
            )  # its five seconds are long over: it has a result to report at once
        ended = api.ended(started["id"])
        (job,) = api.get(jobs)["jobs"]
    assert (ended["status"], ended["jobs_completed"]) == ("success", 1)
    assert (job["status"], job["attempt"], job["worker"]) == ("success", 2, second["worker"])
    assert int(second["worker"].rpartition("-")[2]) != paused


@contextmanager
def serve(running: Running, *services: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run more services beside those of `flows up`."""
    env = {**os.environ, "FLOWS_NATS_URL": running.nats_url}
    process = subprocess.Popen([*FLOWS, "serve", *services], cwd=ROOT, env=env, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


CHAOS_SECONDS = float(os.environ.get("FLOWS_TEST_CHAOS_SECONDS", "10"))  # a minute, when there is time


def test_executors_killed_at_random_request_each_backup_once(running: Running, api: Client) -> None:
    """Three executors, two of them killed again and again, while fifty flows are run."""
    flows = [flow(api, f"flow {number}", vms=4, max_concurrent_jobs=2) for number in range(50)]
    chance = random.Random(7)
    with ExitStack() as stack, ThreadPoolExecutor(6) as pool:

        def execute(flow_id: str) -> None:
            answer = api.http.post(f"/protection-flows/{flow_id}/execute")
            assert answer.status_code == 202, answer.text

        extra = [stack.enter_context(serve(running, "executor")) for _ in range(2)]
        deadline = time.monotonic() + CHAOS_SECONDS
        pending = list(flows)
        while pending or time.monotonic() < deadline:
            batch, pending = pending[:6], pending[6:]
            list(pool.map(execute, [one["id"] for one in batch]))
            victim = chance.randrange(2)
            extra[victim].send_signal(signal.SIGKILL)
            extra[victim].wait()
            extra[victim] = stack.enter_context(serve(running, "executor"))
            time.sleep(chance.random())  # not a wait: the moment of the next fault
        for one in flows:
            found = api.until(
                f"/protection-flows/{one['id']}/executions",
                lambda found: found["total"] and all(execution["completed_at"] for execution in found["executions"]),
            )
            assert [execution["status"] for execution in found["executions"]] == ["success"]
    env = {**os.environ, "FLOWS_NATS_URL": running.nats_url}
    requested = subprocess.run(
        [*FLOWS, "log", "backup.requested", "--json"], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    ids = Counter(line.split('"id":"')[1].split('"')[0] for line in requested.stdout.splitlines())
    replayed = subprocess.run([*FLOWS, "replay"], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert ", 0 of them different today" in replayed.stdout
    assert len(ids) == 50 * 4
    assert set(ids.values()) == {1}


def test_a_cancel_ends_in_five_seconds_and_leaves_no_partial_file(
    running: Running, api: Client, tmp_path: Path
) -> None:
    """A directory backup of a disk that would take far longer is cancelled in the middle."""
    disk, repository = tmp_path / "disk.raw", tmp_path / "repository"
    repository.mkdir()
    with disk.open("wb") as out:
        for _ in range(1000):
            out.write(os.urandom(1 << 20))
    api.create("/vm-contexts", context_id="vm", vm_name="vm", disks=[{"disk_id": "d", "path": str(disk)}])
    place = api.create("/repositories", name="place", type="directory", location=str(repository))
    started = api.call("POST", "/backups", {"context_id": "vm", "repository_id": place["id"]}, status=202)
    execution_id = started["execution_id"]
    api.until(f"/executions/{execution_id}/jobs", lambda found: found["jobs"][0]["bytes_read"] > 0)
    assert list(repository.rglob(".partial-*"))
    begun = time.monotonic()
    api.call("POST", f"/executions/{execution_id}/cancel", status=202)
    ended = api.ended(execution_id)
    assert time.monotonic() - begun < 5
    assert ended["status"] == "cancelled"
    assert [one for one in repository.rglob("*") if one.is_file()] == []
    assert list(repository.rglob(".partial-*")) == []


SCHEDULER_MINUTES = int(os.environ.get("FLOWS_TEST_SCHEDULER_MINUTES", "1"))  # five, when there is time


def test_schedulers_killed_at_random_say_each_occurrence_once_and_in_time(running: Running, api: Client) -> None:
    """Three schedulers, two of them killed again and again, 200 flows on every minute."""
    schedule = api.create("/schedules", name="every minute", cron_expression="* * * * *", enabled=False)
    one = flow(api, "one", schedule_id=schedule["id"])
    fields = {"flow_type": "backup", "target_type": "group", "target_id": one["target_id"]}
    fields |= {"repository_id": one["repository_id"], "schedule_id": schedule["id"]}
    with ThreadPoolExecutor(8) as pool:
        names = [f"flow {number}" for number in range(199)]
        list(pool.map(lambda name: api.create("/protection-flows", name=name, **fields), names))
    # the flows are not to start while this is set up, and are killed for some seconds before and after each minute
    wait_until(lambda: 35 <= datetime.now(UTC).second <= 50, within=60)
    api.call("PATCH", f"/schedules/{schedule['id']}/enable")
    first = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    last = first + timedelta(minutes=SCHEDULER_MINUTES - 1)
    chance = random.Random(5)
    with ExitStack() as stack:
        extra = [stack.enter_context(serve(running, "scheduler")) for _ in range(2)]
        while datetime.now(UTC) < last + timedelta(seconds=10):
            victim = chance.randrange(2)
            extra[victim].send_signal(signal.SIGKILL)
            extra[victim].wait()
            extra[victim] = stack.enter_context(serve(running, "scheduler"))
            time.sleep(1 + 2 * chance.random())  # not a wait: the moment of the next fault
    api.call("PATCH", f"/schedules/{schedule['id']}/disable")
    env = {**os.environ, "FLOWS_NATS_URL": running.nats_url}
    said = subprocess.run(
        [*FLOWS, "log", "flow.due", "--json"], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    due = [json.loads(line) for line in said.stdout.splitlines()]
    by_minute = Counter(event["data"]["occurrence"] for event in due)
    minutes = [
        (first + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%SZ") for number in range(SCHEDULER_MINUTES)
    ]
    assert {minute: by_minute[minute] for minute in minutes} == dict.fromkeys(minutes, 200)
    assert len({(event["data"]["occurrence"], event["subject"]) for event in due}) == len(due)
    late = max(
        datetime.fromisoformat(event["time"]) - datetime.fromisoformat(event["data"]["occurrence"]) for event in due
    )
    assert late < timedelta(seconds=LATEST)


LATEST = float(os.environ.get("FLOWS_TEST_LATEST_SECONDS", "15"))  # two on a machine that does nothing else
