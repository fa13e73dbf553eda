"""A limit over all flows, set by the environment and then by hand, as `flows doctor` and `flows replay` see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.support import flows
from tests.made import flow
from tests.running import Running


@pytest.mark.server
def test_doctor_is_healthy_and_replay_equal_under_a_global_limit_of_1_with_three_vms_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWS_MAX_CONCURRENT_JOBS", "1")
    monkeypatch.delenv("FLOWS_KEEP_DAYS", raising=False)
    running = Running(tmp_path / "data").start()
    try:
        api = running.client()
        settings = api.get("/settings")
        assert (settings["max_concurrent_jobs"], settings["updated_by"]) == (1, "environment")
        made = flow(api, "flow", vms=4, config={"seconds": 25})
        started = api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)
        api.until("/queue", waiting)
        well(running)
        found = api.get("/queue")
        assert waiting(found), f"it took too long: {found}"
        assert found["limits"]["total"] == 1
        assert {one["waiting_for"] for one in found["waiting"]} == {"a slot over all flows: 1 of 1 are taken"}
        api.call("PUT", f"/repositories/{made['repository_id']}", {"config": {"seconds": 0.2}})
        done = flows("settings", "set", "--max-concurrent-jobs", "none", "--url", running.url, "--data", data(running))
        assert done.returncode == 0, done.stderr
        # at once: the three others do not wait for the first one's slot
        jobs = f"/executions/{started['id']}/jobs"
        three_beside_it = ["running", "success", "success", "success"]
        api.until(jobs, lambda found: sorted(one["status"] for one in found["jobs"]) == three_beside_it, within=20)
        assert api.ended(started["id"])["status"] == "success"
        well(running)
        # the variable is still set: the log counts, and the difference is told
        assert running.stop() == 0
        running.start()
        assert running.client().get("/settings")["max_concurrent_jobs"] is None
        told = (running.folder / "logs" / "control.log").read_text()
        assert "FLOWS_MAX_CONCURRENT_JOBS is 1, and the log's setting max_concurrent_jobs is none" in told
    finally:
        running.stop()


def waiting(queue: dict) -> bool:  # type: ignore[type-arg]
    return len(queue["running"]) == 1 and len(queue["waiting"]) == 3


def well(running: Running) -> None:
    """`flows doctor` and `flows replay` find nothing wrong."""
    for command in ("doctor", "replay"):
        done = flows(command, "--data", data(running))
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def data(running: Running) -> str:
    return str(running.folder)
