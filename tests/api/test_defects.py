"""The known defects of the system that this one replaces: one test each, by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.made import flow, scheduled, vm
from tests.running import ROOT, Client


def run(api: Client, made: dict[str, Any]) -> dict[str, Any]:
    started = api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)
    ended: dict[str, Any] = api.ended(started["id"])
    return ended


def test_flows_never_fired_on_schedule_and_next_run_was_invented(api: Client, unique: str) -> None:
    """What is shown as the next run is the instant that then fires."""
    made = scheduled(api, unique, "* * * * *")
    promised = made["status"]["next_execution_time"]
    path = f"/protection-flows/{made['id']}/executions"
    found = api.until(path, lambda found: found["executions"] and found["executions"][0]["completed_at"], within=75)
    execution = found["executions"][-1]
    assert (execution["occurrence"], execution["execution_type"]) == (promised, "scheduled")
    started = datetime.fromisoformat(execution["started_at"])
    assert timedelta(0) <= started - datetime.fromisoformat(promised) < timedelta(seconds=30)
    api.call("PATCH", f"/protection-flows/{made['id']}/disable")


def test_next_run_was_invented(api: Client, unique: str) -> None:
    for given in ({"enabled": False}, {}):
        made = flow(api, f"{unique}{len(given)}", **given)
        assert made["status"]["next_execution_time"] is None
    made = scheduled(api, f"{unique}s", "0 2 * * *")
    assert made["status"]["next_execution_time"].endswith("T02:00:00Z")
    api.call("PATCH", f"/schedules/{made['schedule_id']}/disable")
    assert api.get(f"/protection-flows/{made['id']}")["status"]["next_execution_time"] is None


def test_an_execution_of_an_empty_group_stayed_running(api: Client, unique: str) -> None:
    ended = run(api, flow(api, unique, vms=0))
    assert (ended["status"], ended["jobs_created"]) == ("warning", 0)


def test_only_the_first_five_jobs_of_an_execution_were_looked_at(api: Client, unique: str) -> None:
    made = flow(api, unique, vms=7, config={"failure_rate": 1.0})
    ended = run(api, made)
    assert (ended["status"], ended["jobs_failed"], len(ended["created_job_ids"])) == ("error", 7, 7)


def test_counters_raced_and_warning_counted_as_neither(api: Client, unique: str) -> None:
    made = flow(api, unique, vms=0, overlap_policy="allow")
    for _ in range(3):
        run(api, made)
    status = api.get(f"/protection-flows/{made['id']}")["status"]
    counts = (status["total_executions"], status["successful_executions"], status["failed_executions"])
    assert counts == (3, 3, 0)


def test_one_vm_that_failed_to_start_marked_the_whole_execution_as_error_while_others_ran_on(
    api: Client, unique: str
) -> None:
    good = vm(api, f"{unique}-good", disks=[{"disk_id": "d", "path": str(ROOT / "README.md")}])
    bad = vm(api, f"{unique}-bad", disks=[{"disk_id": "d", "path": "/nowhere/disk.raw"}])
    group = api.create("/machine-groups", name=unique, members=[{"context_id": bad}, {"context_id": good}])
    repository = api.create("/repositories", name=unique, type="directory", location="/tmp")
    fields = {"flow_type": "backup", "target_type": "group", "target_id": group["id"]}
    made = api.create("/protection-flows", name=unique, repository_id=repository["id"], **fields)
    ended = run(api, made)
    assert (ended["status"], ended["jobs_completed"], ended["jobs_failed"]) == ("warning", 1, 1)
    assert "/nowhere/disk.raw does not exist" in ended["error_message"]
    jobs = {job["context_id"]: job["status"] for job in api.get(f"/executions/{ended['id']}/jobs")["jobs"]}
    assert jobs == {good: "success", bad: "error"}


def test_the_schedules_time_zone_was_ignored(api: Client, unique: str) -> None:
    made = scheduled(api, unique, "0 12 * * *", "Asia/Tokyo")
    assert made["status"]["next_execution_time"].endswith("T03:00:00Z")


def test_a_tick_over_the_limit_was_dropped_with_a_log_line_only(api: Client, unique: str) -> None:
    """What cannot run now has an outcome with its reason on the log."""
    made = flow(api, unique, config={"seconds": 30})
    started = api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)
    problem = api.call("POST", f"/protection-flows/{made['id']}/execute", status=409)
    assert "still running" in problem["detail"]
    (skipped,) = api.get("/audit", params={"entity_id": made["id"], "outcome": "rejected"})["commands"]
    assert (skipped["code"], skipped["verb"]) == ("overlap", "execute")
    api.call("POST", f"/executions/{started['id']}/cancel", status=202)
    api.ended(started["id"])


def test_today_counted_only_each_flows_last_run_and_total_was_the_pages_length(api: Client, unique: str) -> None:
    made = flow(api, unique, vms=0)
    before = api.get("/protection-flows/summary")["total_executions_today"]
    for _ in range(3):
        run(api, made)
    after = api.get("/protection-flows/summary")["total_executions_today"]
    assert after >= before + 3 or datetime.now(UTC).hour == 0
    listed = api.get(f"/protection-flows/{made['id']}/executions", params={"limit": 1})
    assert (len(listed["executions"]), listed["total"]) == (1, 3)
    assert api.get("/protection-flows", params={"limit": 1})["total"] >= 1


def test_created_by_and_triggered_by_were_always_system(api: Client, unique: str) -> None:
    made = flow(api, unique, vms=0)
    assert made["created_by"] == "admin"
    assert run(api, made)["triggered_by"] == "admin"


def test_test_never_looked_whether_repository_and_schedule_exist(api: Client, unique: str) -> None:
    made = scheduled(api, unique, "0 2 * * *", vms=1)
    assert api.call("POST", f"/protection-flows/{made['id']}/test")["valid"] is True
    # what a flow refers to cannot vanish; that it is out of use is said
    api.call("DELETE", f"/repositories/{made['repository_id']}", status=409)
    api.call("PATCH", f"/repositories/{made['repository_id']}/disable")
    api.call("PATCH", f"/schedules/{made['schedule_id']}/disable")
    found = api.call("POST", f"/protection-flows/{made['id']}/test")
    assert (found["valid"], found["next_runs"]) == (False, [])
    assert "repository" in found["errors"][0]
    assert any("schedule" in warning for warning in found["warnings"])
    missing = {"target_type": "vm", "target_id": "no", "flow_type": "backup", "repository_id": "no"}
    api.call("POST", "/protection-flows", {"name": f"{unique}x", **missing}, status=422)
