"""The HTTP contract, route by route, on a running engine."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.made import flow, vm
from tests.running import Client, Running

KINDS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    # path: list key, name field, a good body, a change
    "/vm-contexts": ("vm_contexts", "vm_name", {"disks": [{"disk_id": "d0", "path": "/x.raw"}]}, {"cpu_count": 4}),
    "/machine-groups": ("groups", "name", {}, {"description": "all of them"}),
    "/schedules": ("schedules", "name", {"cron_expression": "0 2 * * *"}, {"timezone": "Europe/Berlin"}),
    "/repositories": ("repositories", "name", {"type": "simulated", "location": "/x"}, {"max_concurrent_jobs": 2}),
    "/policies": ("policies", "name", {"keep_daily": 7}, {"retry_attempts": 3}),
    "/notifications": (
        "notifications",
        "name",
        {"url": "https://alerts.example.com/hook", "secret_env": "ALERTS_KEY"},
        {"severity": "error", "digest_at": "07:30"},
    ),
}

DELETED = {"/repositories": 200}  # with a body, for existing clients


def defined(made: dict[str, Any]) -> dict[str, Any]:
    """Return what was created, without what workers saw of it."""
    return {name: value for name, value in made.items() if name not in {"warnings", "inspections"}}


@pytest.mark.parametrize("path", KINDS)
def test_a_definition_lives(api: Client, unique: str, path: str) -> None:
    key, name_field, body, change = KINDS[path]
    made = defined(api.create(path, **{name_field: unique, **body}))
    id_ = made.get("context_id") or made["id"]
    assert made[name_field] == unique
    assert (made["version"], made["created_by"], made["enabled"]) == (1, "admin", True)
    assert api.get(f"{path}/{id_}") == made
    listed = api.get(path, params={"q": unique})
    assert (listed["total"], listed[key]) == (1, [made])
    changed = api.call("PUT", f"{path}/{id_}", change)
    assert changed == made | change | {"version": 2} | {
        field: changed[field] for field in ("updated_at", "armed_at") if field in changed
    }
    disabled = api.call("PATCH", f"{path}/{id_}/disable")
    assert (disabled["enabled"], disabled["version"]) == (False, 3)
    assert api.get(path, params={"q": unique, "enabled": True})["total"] == 0
    assert api.call("PATCH", f"{path}/{id_}/disable")["version"] == 3
    assert api.call("PATCH", f"{path}/{id_}/enable")["enabled"] is True
    api.call("DELETE", f"{path}/{id_}", status=DELETED.get(path, 204))
    for method in ("GET", "DELETE"):
        api.call(method, f"{path}/{id_}", status=404)
    for route in ("enable", "disable"):
        api.call("PATCH", f"{path}/{id_}/{route}", status=404)
    api.call("PUT", f"{path}/{id_}", change, status=404)


@pytest.mark.parametrize("path", [path for path in KINDS if path != "/vm-contexts"])
def test_a_name_is_taken_once(api: Client, unique: str, path: str) -> None:
    _, name_field, body, _ = KINDS[path]
    api.create(path, **{name_field: unique, **body})
    problem = api.call("POST", path, {name_field: unique, **body}, status=409)
    assert problem["errors"][0]["field"] == "name"


@pytest.mark.parametrize("path", KINDS)
def test_versions_are_honoured(api: Client, unique: str, path: str) -> None:
    _, name_field, body, change = KINDS[path]
    made = api.http.post(path, json={name_field: unique, **body})
    assert made.headers["etag"] == '"1"'
    id_ = made.json().get("context_id") or made.json()["id"]
    api.call("PUT", f"{path}/{id_}", change, headers={"If-Match": '"1"'})
    api.call("PUT", f"{path}/{id_}", change, status=412, headers={"If-Match": '"1"'})
    api.call("DELETE", f"{path}/{id_}", status=412, headers={"If-Match": '"1"'})
    api.call("PUT", f"{path}/{id_}", change, status=412, headers={"If-Match": "nonsense"})
    api.call("DELETE", f"{path}/{id_}", status=DELETED.get(path, 204), headers={"If-Match": '"2"'})


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/vm-contexts", {}, "vm_name"),
        ("/vm-contexts", {"vm_name": "x", "colour": "red"}, "colour"),
        ("/vm-contexts", {"vm_name": "x", "cpu_count": "many"}, "cpu_count"),
        ("/vm-contexts", {"vm_name": "x", "cpu_count": 2**70}, "cpu_count"),
        ("/vm-contexts", {"vm_name": "x", "context_id": "a.b"}, "context_id"),
        ("/vm-contexts", {"vm_name": "x", "context_id": "*"}, "context_id"),
        ("/vm-contexts", {"vm_name": "x", "context_id": ">"}, "context_id"),
        ("/vm-contexts", {"vm_name": "x\x00"}, "vm_name"),
        ("/vm-contexts", {"vm_name": "x", "disks": [{"disk_id": "d", "path": "/x", "sise": 1}]}, "disks[0].sise"),
        ("/vm-contexts", {"vm_name": "x", "disks": [{"disk_id": "d.", "path": "/x"}]}, "disks[0].disk_id"),
        ("/vm-contexts", {"vm_name": "x", "disks": [{"disk_id": "d", "path": "x"}]}, "disks"),
        ("/machine-groups", {"name": ""}, "name"),
        ("/machine-groups", {"name": "x" * 256}, "name"),
        ("/machine-groups", {"name": "g", "members": [{"context_id": "unknown-vm"}]}, "context_id"),
        ("/schedules", {"name": "s", "cron_expression": "0 0 31 2 *"}, "cron_expression"),
        ("/schedules", {"name": "s", "cron_expression": "whenever"}, "cron_expression"),
        ("/schedules", {"name": "s", "cron_expression": "@daily", "timezone": "Mars/Olympus"}, "timezone"),
        ("/schedules", {"name": "s", "cron_expression": "@daily", "catch_up": "some"}, "catch_up"),
        ("/repositories", {"name": "r", "type": "tape", "location": "/x"}, "type"),
        ("/repositories", {"name": "r", "type": "directory", "location": "relative"}, "location"),
        ("/policies", {"name": "p", "retry_attempts": -1}, "retry_attempts"),
        (
            "/protection-flows",
            {"name": "f", "flow_type": "backup", "target_type": "disk", "target_id": "x"},
            "target_type",
        ),
        (
            "/protection-flows",
            {
                "name": "f",
                "flow_type": "replication",
                "target_type": "vm",
                "target_id": "no-vm",
                "destination_type": "x",
            },
            "target_id",
        ),
    ],
)
def test_bad_input_names_the_field(api: Client, path: str, body: dict[str, Any], field: str) -> None:
    before = api.get(path)["total"]
    problem = api.call("POST", path, body, status=422)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert api.get(path)["total"] == before


def test_all_that_is_wrong_in_a_body_is_named_at_once(api: Client, unique: str) -> None:
    wrong = {"cron_expression": "whenever", "timezone": "Mars/Olympus"}
    problem = api.call("POST", "/schedules", {"name": unique, **wrong}, status=422)
    assert {error["field"] for error in problem["errors"]} == set(wrong)
    unknown = dict.fromkeys(("target_id", "repository_id", "policy_id", "schedule_id"), "nothing")
    body = {"name": unique, "flow_type": "backup", "target_type": "vm", **unknown}
    problem = api.call("POST", "/protection-flows", body, status=422)
    assert {error["field"] for error in problem["errors"]} == set(unknown)
    assert all(error["message"].endswith("'nothing'") for error in problem["errors"])
    secret = {"name": unique, "type": "simulated", "location": "/x", "config": {"password": "x", "seconds": []}}
    problem = api.call("POST", "/repositories", secret | {"nonsense": 1}, status=422)
    assert {error["field"] for error in problem["errors"]} == {"nonsense", "config.seconds", "config.password"}
    assert "x" not in [error["message"] for error in problem["errors"]]


@pytest.mark.parametrize("body", ["", "{", "[]", '"x"', '{"name": "\\ud800"}', "NaN", b"\xff\xfe"])
def test_bodies_that_are_no_object(api: Client, body: str | bytes) -> None:
    answer = api.http.post("/policies", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.json()["detail"]


def test_a_body_over_the_limit(api: Client) -> None:
    api.call("POST", "/policies", {"name": "x", "description": "y" * 5_000_000}, status=413)


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "offset=-1", "sort=colour", "enabled=perhaps"])
def test_bad_parameters(api: Client, query: str) -> None:
    for path in (*KINDS, "/protection-flows"):
        api.call("GET", f"{path}?{query}", status=400)


def test_lists_have_pages_sorts_and_true_totals(api: Client, unique: str) -> None:
    for number in range(5):
        api.create("/policies", name=f"{unique}-{number}")
    listed = api.get("/policies", params={"q": unique, "limit": 2, "offset": 1})
    assert listed["total"] == 5
    assert [policy["name"] for policy in listed["policies"]] == [f"{unique}-3", f"{unique}-2"]
    listed = api.get("/policies", params={"q": unique, "sort": "name", "limit": 1})
    assert listed["policies"][0]["name"] == f"{unique}-0"
    assert api.get("/policies", params={"q": "%"})["total"] == 0


def test_members_of_a_group(api: Client, unique: str) -> None:
    first, second = vm(api, unique), vm(api, unique, enabled=False)
    group = api.create("/machine-groups", name=unique, members=[{"context_id": first}])
    path = f"/machine-groups/{group['id']}"
    added = api.create(f"{path}/vms", context_id=second, priority=5)
    assert (added["context_id"], added["priority"], added["vm_name"]) == (second, 5, unique)
    api.call("POST", f"{path}/vms", {"context_id": second}, status=409)
    api.call("POST", f"{path}/vms", {"context_id": "nobody"}, status=422)
    counts = api.get(path)
    assert (counts["total_vms"], counts["enabled_vms"], counts["disabled_vms"]) == (2, 1, 1)
    api.call("PATCH", f"{path}/vms/{first}", {"enabled": False})
    assert api.get(path)["enabled_vms"] == 0
    assert [one["context_id"] for one in api.get(f"{path}/vms")["vms"]] == [first, second]
    problem = api.call("DELETE", f"/vm-contexts/{first}", status=409)
    assert unique in problem["detail"]
    api.call("DELETE", f"{path}/vms/{first}", status=204)
    api.call("DELETE", f"{path}/vms/{first}", status=404)
    api.call("PATCH", f"{path}/vms/{first}", {}, status=404)
    api.call("DELETE", f"/vm-contexts/{first}", status=204)


def test_a_vm_by_its_own_id_and_its_disks(api: Client, unique: str) -> None:
    disks = [{"disk_id": "d0", "path": "/disks/a.qcow2", "size_gb": 40.5}]
    made = api.create("/vm-contexts", vm_name=unique, context_id=f"ctx-{unique}", disks=disks)
    assert made["context_id"] == f"ctx-{unique}"
    assert api.get(f"/vm-contexts/by-id/ctx-{unique}") == {"context": made}
    assert api.get(f"/vm-contexts/ctx-{unique}/disks") == {"disks": disks}
    api.call("GET", "/vm-contexts/nobody/disks", status=404)
    api.call("GET", "/vm-contexts/by-id/nobody", status=404)
    api.call("POST", "/vm-contexts", {"vm_name": unique, "context_id": f"ctx-{unique}"}, status=409)


def test_a_flow_says_the_names_of_what_it_refers_to(api: Client, unique: str) -> None:
    schedule = api.create("/schedules", name=unique, cron_expression="0 2 * * *", timezone="Europe/Berlin")
    policy = api.create("/policies", name=unique)
    made = flow(api, unique, schedule_id=schedule["id"], policy_id=policy["id"], labels={"tier": "gold"}, priority=3)
    names = {made[f"{what}_name"] for what in ("target", "repository", "policy", "schedule")}
    assert names == {unique}
    assert (made["schedule_cron"], made["labels"], made["priority"]) == ("0 2 * * *", {"tier": "gold"}, 3)
    assert made["status"] == {
        "last_execution_id": None,
        "last_execution_status": "pending",
        "last_execution_time": None,
        "next_execution_time": made["status"]["next_execution_time"],
        "next_execution_reason": None,
        "total_executions": 0,
        "successful_executions": 0,
        "failed_executions": 0,
        "recent_executions": [],
    }
    now = api.get(f"/protection-flows/{made['id']}/status")
    assert now["next_run"] == now["next_runs"][0] == made["status"]["next_execution_time"]
    assert len(now["next_runs"]) == 10
    assert now["next_run"].endswith(("T00:00:00Z", "T01:00:00Z"))  # two at night in Berlin
    api.call("PATCH", f"/protection-flows/{made['id']}/disable")
    assert api.get(f"/protection-flows/{made['id']}/status")["next_runs"] == []
    problem = api.call("DELETE", f"/schedules/{schedule['id']}", status=409)
    assert unique in problem["detail"]
    api.call("DELETE", f"/schedules/{schedule['id']}", status=204, params={"detach": True})
    assert api.get(f"/protection-flows/{made['id']}")["schedule_id"] is None


def test_flows_are_found_by_every_filter(api: Client, unique: str) -> None:
    made, other = flow(api, f"{unique}a"), defined(flow(api, f"{unique}b", enabled=False))
    for name in ("target_id", "repository_id"):
        found = api.get("/protection-flows", params={name: made[name]})
        assert [one["id"] for one in found["flows"]] == [made["id"]]
    query = {"q": unique, "flow_type": "backup", "target_type": "group", "status": "pending"}
    assert api.get("/protection-flows", params=query)["total"] == 2
    assert api.get("/protection-flows", params=query | {"enabled": False})["flows"] == [other]
    assert api.get("/protection-flows", params=query | {"flow_type": "replication"})["total"] == 0
    assert [one["id"] for one in api.get("/protection-flows", params={"q": unique})["flows"]] == [
        other["id"],
        made["id"],
    ]


def test_a_flow_over_six_vms_counts_six_jobs(api: Client, unique: str) -> None:
    made = flow(api, unique, vms=6)
    path = f"/protection-flows/{made['id']}"
    answer = api.http.post(f"{path}/execute")
    assert answer.status_code == 202
    started = answer.json()
    assert answer.headers["location"] == f"/api/v1/executions/{started['execution_id']}"
    assert (started["id"], started["jobs_created"]) == (started["execution_id"], 6)
    assert (started["execution_type"], started["triggered_by"]) == ("manual", "admin")
    ended = api.ended(started["id"])
    assert (ended["status"], ended["jobs_completed"], ended["vms_processed"]) == ("success", 6, 6)
    assert ended["bytes_transferred"] == 6 << 20
    assert ended["execution_time_seconds"] >= 0
    jobs = api.get(f"/executions/{started['id']}/jobs")
    assert jobs["total"] == 6
    assert [job["id"] for job in jobs["jobs"]] == ended["created_job_ids"]
    assert {job["status"] for job in jobs["jobs"]} == {"success"}
    assert api.get(f"{path}/executions")["executions"] == [ended]
    status = api.get(path)["status"]
    assert (status["last_execution_id"], status["last_execution_status"]) == (started["id"], "success")
    assert (status["total_executions"], status["successful_executions"]) == (1, 1)
    found = api.get("/executions", params={"flow_id": made["id"], "status": "success", "execution_type": "manual"})
    assert found["total"] == 1
    assert api.get(f"{path}/executions", params={"from": ended["started_at"]})["total"] == 1
    assert api.get(f"{path}/executions", params={"from": "2999-01-01T00:00:00Z"})["total"] == 0
    assert api.get(f"{path}/executions", params={"to": ended["started_at"]})["total"] == 0
    assert api.get(f"{path}/executions", params={"to": "2020-01-01T00:00:00Z"})["total"] == 0


def test_an_empty_group_is_a_warning_at_once_with_the_reason(api: Client, unique: str) -> None:
    made = flow(api, unique, vms=0)
    started = api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)
    ended = api.ended(started["id"], within=10)
    assert (ended["status"], ended["jobs_created"]) == ("warning", 0)
    assert "is empty" in ended["error_message"]


def test_a_running_flow_is_not_deleted_nor_started_twice(api: Client, unique: str) -> None:
    made = flow(api, unique, config={"seconds": 2})
    path = f"/protection-flows/{made['id']}"
    started = api.call("POST", f"{path}/execute", status=202)
    assert started["status"] == "running"
    problem = api.call("POST", f"{path}/execute", status=409)
    assert "still running" in problem["detail"]
    api.call("DELETE", path, status=409)
    assert api.get(path)["id"] == made["id"]
    running = api.get(f"{path}/status")["running_executions"]
    assert [one["id"] for one in running] == [started["id"]]
    api.ended(started["id"])
    api.call("DELETE", path, status=204)
    api.call("GET", f"/executions/{started['id']}", status=404)


def test_a_running_flow_is_deleted_by_force_which_cancels_it_first(api: Client, unique: str) -> None:
    made = flow(api, unique, config={"seconds": 60})
    path = f"/protection-flows/{made['id']}"
    started = api.call("POST", f"{path}/execute", status=202)
    api.call("DELETE", path, status=204, params={"force": True})
    api.call("GET", path, status=404)
    (entry,) = api.get("/audit", params={"entity": "execution", "entity_id": started["id"]})["commands"]
    assert (entry["verb"], entry["outcome"]) == ("cancel", "accepted")


def test_the_same_key_is_the_same_request(api: Client, unique: str) -> None:
    key = {"Idempotency-Key": unique}
    first = api.call("POST", "/policies", {"name": unique}, status=201, headers=key)
    again = api.call("POST", "/policies", {"name": unique}, status=201, headers=key)
    assert first == again
    made = flow(api, unique)
    path = f"/protection-flows/{made['id']}"
    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda _: api.call("POST", f"{path}/execute", status=202, headers=key), range(8)))
    assert len({one["execution_id"] for one in started}) == 1
    api.ended(started[0]["id"])
    assert api.get(f"{path}/executions")["total"] == 1


def test_names_race_and_one_wins(api: Client, unique: str) -> None:
    def create(_: int) -> int:
        return api.http.post("/policies", json={"name": unique}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(create, range(24)))
    assert sorted(statuses) == [201] + [409] * 23
    assert api.get("/policies", params={"q": unique})["total"] == 1


@pytest.mark.parametrize(
    "path", ["/protection-flows/x", "/executions/x", "/executions/x/jobs", "/commands/x", "/nowhere"]
)
def test_what_is_not_there_is_404(api: Client, path: str) -> None:
    api.call("GET", path, status=404)


def test_routes_of_a_flow_that_is_not_there(api: Client) -> None:
    for method, route in (("POST", "execute"), ("GET", "executions"), ("GET", "status")):
        api.call(method, f"/protection-flows/nothing/{route}", status=404)


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic x", "Bearer", "Bearer \xff"])
def test_without_the_token_nothing(running: Running, header: str | None) -> None:
    headers = {"Authorization": header.encode("latin-1")} if header else {}
    answer = httpx.get(f"{running.url}/api/v1/protection-flows", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert running.token not in answer.text


def test_health(running: Running) -> None:
    assert httpx.get(f"{running.url}/health/live").json() == {"status": "ok"}
    ready = httpx.get(f"{running.url}/health/ready").json()
    assert ready["parts"] == {"log": "ok", "database": "ok", "recorder": "ok"}


def test_openapi_and_its_page_load_nothing_from_elsewhere(running: Running) -> None:
    schema = httpx.get(f"{running.url}/schema/openapi.json").json()
    assert "/api/v1/protection-flows/{flow_id}/execute" in schema["paths"]
    page = httpx.get(f"{running.url}/schema/").text
    urls = [part.split('"')[0] for mark in ('src="', 'href="') for part in page.split(mark)[1:]]
    assert urls
    for url in urls:
        assert url.startswith(("/schema/", "data:")), url
        if url.startswith("/"):
            assert httpx.get(f"{running.url}{url}").status_code == 200
    assert "cdn" not in page


def test_no_secret_is_on_the_log_or_in_the_logs(running: Running, api: Client, unique: str) -> None:
    flow(api, unique)
    passwords = [file.read_text().strip() for file in (running.folder / "nats-credentials").iterdir()]
    assert len(passwords) > 5
    secrets = [running.token, *passwords]
    texts = [file.read_text(errors="replace") for file in (running.folder / "logs").iterdir()]
    texts.append((running.folder / "nats-server.log").read_text())
    texts.append((running.folder / "flows.db").read_bytes().decode(errors="replace"))
    assert not [secret for secret in secrets for text in texts if secret in text]


def test_times_are_rfc_3339_in_utc(api: Client, unique: str) -> None:
    made = api.create("/policies", name=unique)
    assert made["created_at"].endswith("Z")
    assert json.dumps(made).count("+00:00") == 0
