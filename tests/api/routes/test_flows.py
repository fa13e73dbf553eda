"""The rest of the contract: bulk, dry run, summary, cancel, retry, backups outside flows, queue, audit, secrets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.made import flow, vm
from tests.running import Client


def execute(api: Client, made: dict[str, Any]) -> dict[str, Any]:
    started: dict[str, Any] = api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)
    return started


def test_bulk_answers_for_each_flow_itself(api: Client, unique: str) -> None:
    made = [flow(api, f"{unique}{number}", vms=0)["id"] for number in range(3)]
    everything = api.get("/audit")["total"]
    dry = api.call("POST", "/protection-flows/bulk-disable", {"flow_ids": [*made, "no"]}, params={"dry_run": True})
    assert (dry["successful"], dry["failed"]) == (3, 1)
    assert api.get("/audit")["total"] == everything
    done = api.call("POST", "/protection-flows/bulk-disable", {"flow_ids": [*made, "no", made[0]]})
    assert (done["successful"], done["failed"]) == (3, 1)
    assert "there is no flow 'no'" in done["errors"]["no"]
    assert {api.get(f"/protection-flows/{id_}")["enabled"] for id_ in made} == {False}
    api.call("POST", "/protection-flows/bulk-enable", {"flow_ids": made})
    assert {api.get(f"/protection-flows/{id_}")["enabled"] for id_ in made} == {True}
    api.call("POST", "/protection-flows/bulk-delete", {"flow_ids": made})
    assert api.get("/protection-flows", params={"q": unique})["total"] == 0
    for body in ({"flow_ids": []}, {"flow_ids": ["x"] * 501}, {}, {"flow_ids": [1]}):
        api.call("POST", "/protection-flows/bulk-enable", body, status=422)


def test_bulk_delete_spares_what_runs(api: Client, unique: str) -> None:
    made = flow(api, unique, config={"seconds": 3})
    started = execute(api, made)
    done = api.call("POST", "/protection-flows/bulk-delete", {"flow_ids": [made["id"]]})
    assert "is running" in done["errors"][made["id"]]
    api.call("POST", f"/executions/{started['id']}/cancel", status=202)
    api.ended(started["id"])


def test_five_hundred_flows_in_one_call(api: Client, unique: str) -> None:
    target = vm(api, unique)
    repository = api.create("/repositories", name=unique, type="simulated", location="/x")
    fields = {"flow_type": "backup", "target_type": "vm", "target_id": target, "repository_id": repository["id"]}
    with ThreadPoolExecutor(8) as pool:
        names = [f"{unique}-{number}" for number in range(500)]
        ids = list(pool.map(lambda name: api.create("/protection-flows", name=name, **fields)["id"], names))
    done = api.call("POST", "/protection-flows/bulk-delete", {"flow_ids": ids})
    assert (done["successful"], done["failed"], done["errors"]) == (500, 0, {})


def test_a_dry_run_says_what_would_happen_and_appends_nothing(api: Client, unique: str) -> None:
    made = flow(api, unique, vms=2)
    off = vm(api, f"{unique}-off", enabled=False)
    api.create(f"/machine-groups/{made['target_id']}/vms", context_id=off)
    before = api.get("/audit")["total"]
    path = f"/protection-flows/{made['id']}"
    found = api.call("POST", f"{path}/test")
    assert (found["valid"], found["errors"]) == (True, [])
    assert [one["vm_name"] for one in found["resolved_vms"]] == [f"{unique}-0", f"{unique}-1"]
    assert found["excluded"] == [{"context_id": off, "reason": "the VM is disabled", "vm_name": f"{unique}-off"}]
    assert sum("has no disks" in warning for warning in found["warnings"]) == 2
    assert api.get("/audit")["total"] == before
    api.call("PATCH", f"/repositories/{made['repository_id']}/disable")
    found = api.call("POST", f"{path}/test")
    assert found["valid"] is False
    assert "is disabled" in found["errors"][0]
    api.call("POST", "/protection-flows/nothing/test", status=404)


def test_a_dry_run_of_what_is_not_saved_says_the_same_and_appends_nothing(api: Client, unique: str) -> None:
    made = flow(api, unique, vms=2)
    schedule = api.create("/schedules", name=unique, cron_expression="0 2 * * *")
    fields = ("flow_type", "target_type", "target_id", "repository_id")
    body = {field: made[field] for field in fields} | {"name": f"{unique}-new", "schedule_id": schedule["name"]}
    before = api.get("/audit")["total"]
    found = api.call("POST", "/protection-flows/test", body)
    assert (found["valid"], found["errors"]) == (True, [])
    assert [one["vm_name"] for one in found["resolved_vms"]] == [f"{unique}-0", f"{unique}-1"]
    assert len(found["next_runs"]) == 10
    assert {one["worker"] for one in found["inspections"]}
    off = api.call("POST", "/protection-flows/test", {**body, "enabled": False})
    assert off["next_runs"] == []
    assert "nothing runs this flow by itself: the flow is disabled" in off["warnings"]
    gone = api.call("POST", "/protection-flows/test", {**body, "target_id": "gone"})
    assert (gone["valid"], gone["errors"]) == (False, ["group 'gone' does not exist"])
    wrong = api.call("POST", "/protection-flows/test", {**body, "schedule_id": "no such schedule"}, status=422)
    assert [one["field"] for one in wrong["errors"]] == ["schedule_id"]
    assert api.get("/audit")["total"] == before
    assert api.get("/protection-flows", params={"q": f"{unique}-new"})["total"] == 0


def test_a_flow_says_how_its_last_executions_ended_the_newest_first(api: Client, unique: str) -> None:
    made = flow(api, unique, vms=1)
    other = flow(api, f"{unique}-other", vms=0)
    assert api.get(f"/protection-flows/{made['id']}")["status"]["recent_executions"] == []
    api.ended(execute(api, made)["id"])
    api.call("PUT", f"/repositories/{made['repository_id']}", {"config": {"failure_rate": 1}})
    api.ended(execute(api, made)["id"])
    api.ended(execute(api, other)["id"])
    listed = {one["id"]: one for one in api.get("/protection-flows", params={"q": unique})["flows"]}
    assert listed[made["id"]]["status"]["recent_executions"] == ["error", "success"]
    assert listed[other["id"]]["status"]["recent_executions"] == ["warning"]


def test_a_dry_run_tells_disabled_from_unscheduled(api: Client, unique: str) -> None:
    """It had said: "it is disabled, or has no enabled schedule"."""

    def why(flow_id: str) -> str:
        warnings = api.call("POST", f"/protection-flows/{flow_id}/test")["warnings"]
        (found,) = [one for one in warnings if one.startswith("nothing runs this flow by itself: ")]
        return str(found.partition(": ")[2])

    made = flow(api, unique, vms=0)
    assert why(made["id"]) == "the flow has no schedule"
    schedule = api.create("/schedules", name=unique, cron_expression="0 2 * * *", enabled=False)
    api.call("PUT", f"/protection-flows/{made['id']}", {"schedule_id": schedule["id"]})
    assert why(made["id"]) == f"schedule {unique!r} is disabled"
    api.call("PATCH", f"/protection-flows/{made['id']}/disable")
    assert why(made["id"]) == "the flow is disabled"


def test_workers_look_at_the_repository_and_the_disks(api: Client, unique: str, tmp_path: Path) -> None:
    """When it is tested, and when it is created: a warning there, no refusal."""
    disk, store = tmp_path / "disk.raw", tmp_path / "store"
    there = vm(api, f"{unique}-1", disks=[{"disk_id": "a", "path": str(disk)}])
    repository = api.create("/repositories", name=unique, type="directory", location=str(store))
    missing = f"the repository folder {store} does not exist: create or mount it"
    (warning,) = repository["warnings"]
    (seen,) = repository["inspections"]
    assert warning == f"{missing} (so says worker {seen['worker']})"
    assert seen["repository"] == {
        **dict.fromkeys(("there", "writable"), False),
        **dict.fromkeys(("total_bytes", "free_bytes")),
        "problem": missing,
    }
    fields = {"flow_type": "backup", "target_type": "vm", "target_id": there, "repository_id": repository["id"]}
    made = api.create("/protection-flows", name=unique, **fields)
    no_disk = f"disk 'a' of VM '{unique}-1': {disk} does not exist"
    assert made["warnings"] == [f"{one} (so says worker {seen['worker']})" for one in (missing, no_disk)]
    found = api.call("POST", f"/protection-flows/{made['id']}/test")
    assert (found["valid"], found["errors"]) == (False, [missing])
    store.mkdir()
    found = api.call("POST", f"/protection-flows/{made['id']}/test")
    assert (found["valid"], found["errors"]) == (True, [])
    assert found["warnings"][-1] == made["warnings"][-1]
    disk.touch()
    found = api.call("POST", f"/protection-flows/{made['id']}/test")
    assert [one for one in found["warnings"] if "worker" in one] == []
    (seen,) = found["inspections"]
    assert (seen["repository"]["there"], seen["repository"]["writable"]) == (True, True)
    assert 0 < seen["repository"]["free_bytes"] <= seen["repository"]["total_bytes"]
    assert [*store.iterdir()] == [], "a look writes nothing"


def test_a_clone_is_born_disabled(api: Client, unique: str) -> None:
    made = flow(api, unique, priority=4, labels={"a": "b"})
    copy = api.call("POST", f"/protection-flows/{made['id']}/clone", {"name": f"{unique} copy"}, status=201)
    assert (copy["enabled"], copy["priority"], copy["labels"]) == (False, 4, {"a": "b"})
    assert copy["id"] != made["id"]
    api.call("POST", f"/protection-flows/{made['id']}/clone", {"name": unique}, status=409)
    api.call("POST", "/protection-flows/nothing/clone", {"name": "x"}, status=404)


def test_labels_find_flows_and_vms(api: Client, unique: str) -> None:
    made = flow(api, unique, labels={"tier/of.x": unique, "b": "c"})
    machine = vm(api, unique, labels={"tier": unique})
    found = api.get("/protection-flows", params={"label": f"tier/of.x:{unique}"})
    assert [one["id"] for one in found["flows"]] == [made["id"]]
    found = api.get("/vm-contexts", params={"label": f"tier:{unique}"})
    assert [one["context_id"] for one in found["vm_contexts"]] == [machine]
    assert api.get("/vm-contexts", params={"label": "tier:nothing"})["total"] == 0
    api.call("GET", "/vm-contexts", params={"label": "no-colon"}, status=400)


def test_the_summary_counts_executions_of_today(api: Client, unique: str) -> None:
    before = api.get("/protection-flows/summary")
    made = flow(api, unique, vms=1)
    for _ in range(2):
        api.ended(execute(api, made)["id"])
    after = api.get("/protection-flows/summary")
    assert after["total_flows"] == before["total_flows"] + 1
    assert after["backup_flows"] == after["total_flows"] == after["enabled_flows"] + after["disabled_flows"]
    assert after["total_executions_today"] >= before["total_executions_today"] + 2 or _just_midnight()
    assert after["successful_executions_today"] <= after["total_executions_today"]
    assert api.get("/protection-flows/summary", params={"timezone": "Asia/Tokyo"})["total_flows"] >= 1
    api.call("GET", "/protection-flows/summary", params={"timezone": "Mars"}, status=422)


def _just_midnight() -> bool:
    return datetime.now(UTC).hour == 0


def test_cancel_and_retry(api: Client, unique: str) -> None:
    made = flow(api, unique, vms=4, config={"seconds": 30}, max_concurrent_jobs=1)
    started = execute(api, made)
    first = started["created_job_ids"][0]
    api.until(f"/backups/{first}", lambda found: found["status"] == "running")
    queue = api.get("/queue")
    mine = [one for one in queue["waiting"] if one["execution_id"] == started["id"]]
    assert len(mine) == 3
    assert mine[0]["waiting_for"] == "a slot of its flow: 1 of 1 are taken"
    assert [one["backup_id"] for one in queue["running"] if one["execution_id"] == started["id"]] == [first]
    api.call("POST", f"/executions/{started['id']}/retry", status=409)
    context = mine[-1]["context_id"]
    api.call("POST", f"/executions/{started['id']}/cancel", {"context_id": context}, status=202)
    api.until(f"/backups/{mine[-1]['backup_id']}", lambda found: found["status"] == "skipped")
    cancelling = api.call("POST", f"/executions/{started['id']}/cancel", status=202)
    assert cancelling["id"] == started["id"]  # an answer, not the address of one
    ended = api.ended(started["id"], within=10)
    assert (ended["status"], ended["error_message"]) == ("cancelled", "cancelled by admin")
    assert ended["jobs_completed"] + ended["jobs_failed"] + ended["jobs_skipped"] == ended["jobs_created"] == 4
    problem = api.call("POST", f"/executions/{started['id']}/cancel", status=409)
    assert "not running" in problem["detail"]
    api.call("PUT", f"/repositories/{made['repository_id']}", {"config": {}})
    again = api.call("POST", f"/executions/{started['id']}/retry", status=202)
    assert (again["retry_of"], again["jobs_created"]) == (started["id"], 4)
    assert api.ended(again["id"])["status"] == "success"
    problem = api.call("POST", f"/executions/{again['id']}/retry", status=409)
    assert "succeeded" in problem["detail"]
    for route in ("cancel", "retry", "events"):
        api.call("GET" if route == "events" else "POST", f"/executions/nothing/{route}", status=404)
    events = api.get(f"/executions/{started['id']}/events", params={"limit": 500})["events"]
    told = [one["event"]["type"] for one in events]
    types = [one for one in told if not one.startswith("notification.")]  # another test's may be about all flows
    assert types[0] == "command.flow.execute"
    assert types.count("flow.cancelling") == 2
    assert types[-2:] == ["flow.completed", "rejected.execution.cancel"]


def test_one_vm_is_backed_up_at_once_outside_any_flow(api: Client, unique: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"data" * 100_000)
    target = vm(api, unique, disks=[{"disk_id": "d0", "path": str(disk)}])
    (tmp_path / "repository").mkdir()
    location = str(tmp_path / "repository")
    repository = api.create("/repositories", name=unique, type="directory", location=location)["id"]
    started = api.call("POST", "/backups", {"context_id": target, "repository_id": repository}, status=202)
    assert api.ended(started["id"])["status"] == "success"
    listed = api.get("/backups", params={"vm_name": unique})
    assert listed["total"] == 1
    backup = listed["backups"][0]
    assert (backup["flow_id"], backup["flow_name"], backup["result"]) == (None, f"ad hoc: {unique}", "success")
    assert Path(backup["snapshot_ref"], "d0.zst").exists()
    assert api.get(f"/backups/{backup['id']}") == backup | {"status": "success"}
    stats = api.get("/backups/stats", params={"vm_name": unique, "repository_id": repository})
    assert stats == {
        "backup_count": 1,
        "total_size_bytes": backup["bytes_transferred"],
        "last_backup_at": backup["completed_at"],
    }
    storage = api.get(f"/repositories/{repository}/storage")
    assert storage["used_by_backups_bytes"] == backup["bytes_transferred"]
    assert storage["total_bytes"] > storage["free_bytes"] > 0
    assert api.get("/backups/stats", params={"vm_name": "nobody"})["backup_count"] == 0
    for body, field in (
        ({"context_id": "x", "repository_id": repository}, "context_id"),
        ({"context_id": target, "repository_id": "x"}, "repository_id"),
        ({"context_id": target, "repository_id": repository, "policy_id": "x"}, "policy_id"),
    ):
        problem = api.call("POST", "/backups", body, status=422)
        assert problem["errors"][0]["field"] == field
    api.call("GET", "/backups/x", status=404)
    api.call("GET", "/repositories/x/storage", status=404)
    api.call("POST", f"/executions/{started['id']}/retry", status=409)


def test_a_schedule_shows_what_will_fire(api: Client, unique: str) -> None:
    made = api.create("/schedules", name=unique, cron_expression="30 2 * * *", timezone="Europe/Berlin")
    path = f"/schedules/{made['id']}/preview"
    spring = api.get(path, params={"from": "2026-03-28T12:00:00Z", "count": 2})["next_runs"]
    assert spring[0] == {"at": "2026-03-29T01:00:00Z", "local": "2026-03-29T03:00:00+02:00", "note": "shifted"}
    assert spring[1]["note"] is None
    pattern = api.create("/schedules", name=f"{unique}*", cron_expression="*/30 * * * *", timezone="Europe/Berlin")
    autumn = api.get(f"/schedules/{pattern['id']}/preview", params={"from": "2026-10-25T00:45:00Z", "count": 3})
    assert [run["note"] for run in autumn["next_runs"]] == ["repeated", "repeated", None]
    assert len(api.get(path)["next_runs"]) == 10
    api.call("GET", path, params={"count": 0}, status=400)
    api.call("GET", path, params={"from": "yesterday"}, status=400)
    api.call("GET", "/schedules/x/preview", status=404)


def test_the_audit_log_has_every_command_with_before_and_after(api: Client, unique: str) -> None:
    made = api.create("/policies", name=unique, keep_last=3)
    api.call("PUT", f"/policies/{made['id']}", {"keep_last": 5})
    api.call("POST", "/policies", {"name": unique}, status=409)
    api.call("DELETE", f"/policies/{made['id']}", status=204)
    entries = api.get("/audit", params={"entity": "policy", "entity_id": made["id"]})["commands"]
    assert [(one["verb"], one["outcome"], one["actor"]) for one in entries] == [
        ("delete", "accepted", "admin"),
        ("update", "accepted", "admin"),
        ("create", "accepted", "admin"),
    ]
    deleted, updated, created = entries
    assert (created["before"], created["after"]["keep_last"]) == (None, 3)
    assert (updated["before"]["keep_last"], updated["after"]["keep_last"]) == (3, 5)
    assert updated["request"]["patch"] == {"keep_last": 5}
    assert (deleted["before"]["keep_last"], deleted["after"]) == (5, None)
    first, second = entries[-1]["time"], entries[-2]["time"]
    since = {"entity_id": made["id"], "from": second}
    assert api.get("/audit", params=since)["commands"] == entries[:-1]
    until = {"entity_id": made["id"], "from": first, "to": second}
    assert api.get("/audit", params=until)["commands"] == entries[-1:]
    api.call("GET", "/audit?from=yesterday", status=400)
    (no,) = api.get("/audit", params={"entity": "policy", "outcome": "rejected", "limit": 1})["commands"]
    assert (no["code"], no["field"]) == ("conflict", "name")
    assert unique in no["reason"]
    assert no["before"] is no["after"] is None


def test_a_key_used_for_another_request_is_422(api: Client, unique: str) -> None:
    key = {"Idempotency-Key": f"other-{unique}"}
    api.call("POST", "/policies", {"name": unique}, status=201, headers=key)
    problem = api.call("POST", "/policies", {"name": unique, "keep_last": 1}, status=422, headers=key)
    assert problem["errors"][0]["field"] == "Idempotency-Key"
    refused = {"Idempotency-Key": f"refused-{unique}"}
    for _ in range(2):
        api.call("POST", "/policies", {"name": unique}, status=409, headers=refused)


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/repositories", {"type": "simulated", "location": "/x", "config": {"password": SECRET}}, "config.password"),
        ("/repositories", {"type": "simulated", "location": "/x", "config": {"api_key": SECRET}}, "config.api_key"),
        ("/repositories", {"type": "simulated", "location": f"sftp://me:{SECRET}@host/x"}, "location"),
        ("/vm-contexts", {"labels": {"token": SECRET}}, "labels.token"),
        ("/vm-contexts", {"description": f"see https://me:{SECRET}@host"}, "description"),
    ],
)
def test_secrets_are_refused_before_they_reach_the_log(
    api: Client, unique: str, path: str, body: dict[str, Any], field: str
) -> None:
    name = "vm_name" if path == "/vm-contexts" else "name"
    problem = api.call("POST", path, {name: unique, **body}, status=422)
    assert problem["errors"][0]["field"] == field
    assert "_env" in problem["detail"]
    assert SECRET not in str(problem)
    audit = api.get("/audit", params={"limit": 500})
    assert SECRET not in str(audit)


def test_references_to_secrets_are_welcome(api: Client, unique: str) -> None:
    config = {"password_env": "RESTIC_PASSWORD", "token_file": "/run/secrets/token", "keyboard": "yes"}
    api.create("/repositories", name=unique, type="simulated", location="/x", config=config)


def test_a_requests_own_trace_is_kept_with_its_command(api: Client, unique: str) -> None:
    own, none = f"00-{'a' * 32}-{'b' * 16}-01", "00-nothing-at-all-01"
    for number, given in enumerate((own, none)):
        body = {"name": f"{unique}-{number}"}
        made = api.call("POST", "/policies", body, status=201, headers={"traceparent": given})
        events = api.call("GET", "/events/log?pattern=command.policy.create&limit=200")["events"]
        (sent,) = [one["event"] for one in events if one["event"]["subject"] == made["id"]]
        assert (sent["traceparent"] == own) == (given == own)
        assert sent["traceparent"].split("-")[1] != "nothing"
