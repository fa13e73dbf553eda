"""`flows up` as people use it, and abuse it: real processes, real disks, kill -9."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import subprocess
import threading
import time
from datetime import date, timedelta
from pathlib import Path

import pytest

from bus.clock import now
from tests.ports import reserved_port
from tests.running import FLOWS, ROOT, START, Running
from tests.support import alive, wait_until

pytestmark = pytest.mark.server


def flows(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FLOWS, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})}
    )


def test_the_demo_backs_up_on_schedule_and_restores_byte_for_byte(tmp_path: Path) -> None:
    begun = time.monotonic()
    running = Running(tmp_path / "data", "--demo").start()
    try:
        api = running.client()
        (flow,) = api.get("/protection-flows")["flows"]
        path = f"/protection-flows/{flow['id']}/executions"

        def scheduled(found: dict) -> bool:  # type: ignore[type-arg]
            return any(one["execution_type"] == "scheduled" and one["completed_at"] for one in found["executions"])

        found = api.until(path, scheduled, within=75)
        assert time.monotonic() - begun < 120  # generous: other tests run beside this one
        execution = next(one for one in found["executions"] if one["execution_type"] == "scheduled")
        assert execution["status"] == "success"
        assert (execution["jobs_completed"], execution["jobs_created"]) == (3, 3)
        # it may be forgotten: a run writes little, and the schedule ends by itself
        assert 0 < execution["bytes_transferred"] < 1 << 20
        (schedule,) = api.get("/schedules")["schedules"]
        assert date.fromisoformat(schedule["end_date"]) <= (now() + timedelta(days=1)).date()
        assert execution["occurrence"].endswith(":00Z")
        jobs = api.get(f"/executions/{execution['id']}/jobs")["jobs"]
        assert len(jobs) == 3
        for job in jobs:
            for disk in api.get(f"/vm-contexts/{job['context_id']}/disks")["disks"]:
                backup = Path(job["snapshot_ref"]) / f"{disk['disk_id']}.zst"
                restored = tmp_path / "restored.raw"
                subprocess.run(["zstd", "-d", "-q", "-f", backup, "-o", restored], check=True)
                assert subprocess.run(["cmp", disk["path"], restored], check=False).returncode == 0
        # a second start on the same folder finds the demo, and does not make another
        assert running.stop() == 0
        running.start()
        api = running.client()
        assert api.get("/protection-flows")["total"] == 1
        assert api.get("/vm-contexts")["total"] == 3
    finally:
        running.stop()


def test_the_whole_tree_killed_in_the_middle_of_an_execution_loses_nothing(tmp_path: Path) -> None:
    """`kill -9` of everything while backups run; then `flows up` again: the execution ends with every VM in it."""
    running = Running(tmp_path / "data").start()
    api = running.client()
    vms = [api.create("/vm-contexts", vm_name=f"vm-{number}") for number in range(8)]
    members = [{"context_id": vm["context_id"]} for vm in vms]
    group = api.create("/machine-groups", name="group", members=members)
    repository = api.create("/repositories", name="slow", type="simulated", location="/x", config={"seconds": 2.0})
    fields = {"name": "flow", "flow_type": "backup", "target_type": "group", "target_id": group["id"]}
    flow = api.create("/protection-flows", **fields, repository_id=repository["id"], max_concurrent_jobs=3)
    started = api.call("POST", f"/protection-flows/{flow['id']}/execute", status=202)
    api.until(f"/executions/{started['id']}", lambda found: found["jobs_completed"] >= 2 and found["jobs_running"])
    before = {path: api.get(path)["total"] for path in ("/vm-contexts", "/machine-groups", "/repositories")}
    tree = running.tree()
    running.kill()
    wait_until(lambda: not any(map(alive, tree)))
    running.start()
    try:
        api = running.client()
        assert {path: api.get(path)["total"] for path in before} == before
        ended = api.ended(started["id"], within=90)  # what was in flight comes again after ack_wait
        assert (ended["status"], ended["jobs_created"], ended["jobs_completed"]) == ("success", 8, 8)
        jobs = api.get(f"/executions/{started['id']}/jobs")["jobs"]
        assert sorted(job["context_id"] for job in jobs) == sorted(vm["context_id"] for vm in vms)
        assert {job["status"] for job in jobs} == {"success"}
        assert max(job["attempt"] for job in jobs) >= 2
        status = api.get(f"/protection-flows/{flow['id']}")["status"]
        assert (status["total_executions"], status["successful_executions"]) == (1, 1)
    finally:
        running.stop()


def test_a_service_that_is_killed_comes_back(tmp_path: Path) -> None:
    running = Running(tmp_path / "data").start()
    try:
        api = running.client()
        subprocess.run(["pkill", "-KILL", "-P", str(running.tree()[0]), "-f", "serve .*registry"], check=True)
        made = api.http.post("/policies", json={"name": "while they are down"}, timeout=30)
        # the command is safe on the log: 201 when they were back in time, 202 with its address when not
        assert made.status_code in {201, 202}, made.text
        api.until("/policies", lambda found: found["total"] == 1)
        if made.status_code == 202:
            address = made.headers["location"].removeprefix("/api/v1")
            assert api.get(address)["outcome"] == "accepted"
    finally:
        assert running.stop() == 0


def test_the_log_server_killed_comes_back(tmp_path: Path) -> None:
    running = Running(tmp_path / "data").start()
    try:
        api = running.client()
        api.create("/policies", name="before")
        os.kill(int((running.folder / "nats.pid").read_text()), 9)

        def again(_: object) -> bool:
            return api.http.post("/policies", json={"name": "after"}).status_code in {201, 409}

        api.until("/policies", again)
        assert api.get("/policies")["total"] == 2
    finally:
        assert running.stop() == 0


def test_the_log_server_killed_while_the_engine_starts_comes_back(tmp_path: Path) -> None:
    running = Running(tmp_path / "data")

    def kill_when_services_start() -> None:
        wait_until((running.folder / "logs" / "control.log").exists, within=START)
        os.kill(int((running.folder / "nats.pid").read_text()), 9)

    killer = threading.Thread(target=kill_when_services_start)
    killer.start()
    try:
        running.start()
        killer.join()
        api = running.client()
        api.create("/policies", name="after")
    finally:
        assert running.stop() == 0


def test_a_log_server_that_cannot_start_again_is_tried_until_it_can(tmp_path: Path) -> None:
    """Somebody else listens on its port, as after a reboot; then no more."""
    port = reserved_port()
    running = Running(tmp_path / "data", "--nats-port", str(port)).start()
    try:
        api = running.client()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            os.kill(int((running.folder / "nats.pid").read_text()), 9)
            deadline = time.monotonic() + 10
            while True:
                with contextlib.suppress(OSError):
                    other.bind(("127.0.0.1", port))
                    break
                assert time.monotonic() < deadline
            other.listen()
            time.sleep(3)  # not a wait: for so long it cannot, for more than one try
            assert running.process
            assert running.process.poll() is None
        api.until_created("/policies", {"name": "after"}, key="after", within=60)
    finally:
        assert running.stop() == 0


def test_a_folder_or_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    running = Running(tmp_path / "data").start()
    try:
        twice = flows("up", "--data", str(tmp_path / "data"), "--port", str(reserved_port()))
        assert twice.returncode == 1
        assert re.search(r"^flows: the data folder .* is in use", twice.stderr, re.MULTILINE)
        taken = flows("up", "--data", str(tmp_path / "other"), "--port", str(running.port))
        assert taken.returncode == 1
        assert f"port {running.port}" in taken.stderr
        assert "--port" in taken.stderr
        for failed in (twice, taken):
            assert "Traceback" not in failed.stdout + failed.stderr
        assert stat.S_IMODE((running.folder / "admin-token").stat().st_mode) == 0o600
    finally:
        assert running.stop() == 0


def test_the_log_is_readable_and_json(tmp_path: Path) -> None:
    running = Running(tmp_path / "data").start()
    try:
        api = running.client()
        api.create("/policies", name="gold")
        api.call("POST", "/policies", {"name": "gold"}, status=409)
        text = flows("log", "--data", str(running.folder)).stdout
        assert re.search(r"catalog\.policy .* gold \(version 1\)", text)
        assert re.search(r"rejected\.policy\.create .* the name 'gold' is taken", text)
        lines = flows("log", "command.*", "--json", env={"FLOWS_NATS_URL": running.nats_url}).stdout.splitlines()
        assert len(lines) == 2
        assert all('"type":"command.policy.create"' in line for line in lines)
        by_folder = flows("log", "catalog", env={"FLOWS_DATA_DIR": str(running.folder)}).stdout
        assert len(by_folder.splitlines()) == 1
    finally:
        assert running.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        (["log", "--data", "/nowhere"], {}, "cannot read /nowhere/nats-url"),
        (["serve", "recorder"], {"FLOWS_DATABASE_URL": ""}, "FLOWS_DATABASE_URL is not set"),
        (["serve", "api"], {"FLOWS_DATABASE_URL": "x"}, "FLOWS_ADMIN_TOKEN_FILE is not set"),
        (["serve", "worker"], {"FLOWS_WORKER_SLOTS": "many"}, "FLOWS_WORKER_SLOTS is 'many'"),
        (["serve", "scheduler"], {}, "cannot reach NATS"),
        (["serve", "nothing"], {}, "'nothing' is not one of"),
        (["up", "--port", "99999"], {}, "99999"),
        (["up", "--data", "/proc/nowhere"], {}, "/proc/nowhere"),
    ],
)
def test_mistakes_are_answered_with_one_clear_line(arguments: list[str], env: dict[str, str], says: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        nats = {"FLOWS_NATS_URL": f"nats://user:hidden@127.0.0.1:{nobody.getsockname()[1]}"}
        failed = flows(*arguments, env=nats | env)
    assert failed.returncode != 0
    assert says in failed.stderr
    assert "Traceback" not in failed.stderr + failed.stdout
    assert "hidden" not in failed.stderr
