"""What existing clients send and read in words of their own: a test for each, on a running engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.made import flow, vm
from tests.running import Client, Running


def directory(api: Client, unique: str, folder: Path, **given: Any) -> dict[str, Any]:
    made: dict[str, Any] = api.create(
        "/repositories", name=unique, **{"type": "directory", "location": str(folder), **given}
    )
    return made


def test_backups_are_listed_as_completed_failed_or_running(api: Client, unique: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"data" * 100_000)
    disks = [{"disk_id": "d0", "path": str(disk)}, {"disk_id": "d1", "path": str(disk)}]
    good, bad = vm(api, f"{unique}-good", disks=disks), vm(api, f"{unique}-bad")
    store = directory(api, unique, tmp_path)["id"]
    simulated = {"type": "simulated", "location": "/x"}
    slow = api.create("/repositories", name=f"{unique}-slow", **simulated, config={"seconds": 60})["id"]
    for target in (good, bad):
        started = api.call("POST", "/backups", {"context_id": target, "repository_id": store}, status=202)
        api.ended(started["id"])
    running = api.call("POST", "/backups", {"context_id": good, "repository_id": slow}, status=202)

    def listed(**query: Any) -> list[tuple[str, str]]:
        found = api.get("/backups", params={"repository_id": store, **query})["backups"]
        return [(one["status"], one["result"]) for one in found]

    assert listed(vm_name=f"{unique}-good") == [("completed", "success")]
    assert listed(status="completed") == listed(status="success") == [("completed", "success")]
    assert listed(status="failed") == listed(status="error") == [("failed", "error")]
    assert listed(status="running") == listed(status="cancelled") == []
    (one,) = api.get("/backups", params={"status": "completed", "repository_id": store})["backups"]
    assert one["backup_id"] == one["id"]
    assert (one["type"], one["backup_type"]) == ("full", "full")
    assert (one["total_bytes"], one["disks_count"], one["vm_name"]) == (800_000, 2, f"{unique}-good")
    (waiting,) = api.get("/backups", params={"status": "running", "vm_name": f"{unique}-good"})["backups"]
    assert waiting["status"] == "running"
    assert waiting["result"] in {"pending", "queued", "running"}
    assert api.get(f"/backups/{one['backup_id']}")["status"] == "success"
    problem = api.call("GET", "/backups?status=done", status=400)
    assert "completed" in problem["detail"]
    api.call("POST", f"/executions/{running['id']}/cancel", status=202)


def test_the_vms_of_a_group_come_as_members_with_their_count(api: Client, unique: str) -> None:
    ids = [vm(api, f"{unique}-{n}") for n in range(3)]
    group = api.create("/machine-groups", name=unique, members=[{"context_id": id_} for id_ in reversed(ids)])
    found = api.get(f"/vm-groups/{group['id']}/members")
    assert found["count"] == 3
    assert found["members"] == [api.get(f"/vm-contexts/{id_}") for id_ in reversed(ids)]
    assert api.get(f"/vm-groups/{group['id']}/members?limit=1")["count"] == 3
    api.call("GET", "/vm-groups/nothing/members", status=404)


def test_a_member_may_be_called_by_its_vm_context_id(api: Client, unique: str) -> None:
    one, two, three = (vm(api, f"{unique}-{n}") for n in range(3))
    path = f"/machine-groups/{api.create('/machine-groups', name=unique)['id']}/vms"
    added = api.create(path, vm_context_id=one)
    assert (added["context_id"], added["vm_context_id"]) == (one, one)
    many = api.create(path, vm_context_ids=[two, three], priority=2)
    assert [member["vm_context_id"] for member in many["vms"]] == [two, three]
    assert {member["priority"] for member in many["vms"]} == {2}
    assert [member["vm_context_id"] for member in api.get(path)["vms"]] == [one, two, three]


def test_many_members_are_added_together_or_not_at_all(api: Client, unique: str) -> None:
    one, two = vm(api, f"{unique}-1"), vm(api, f"{unique}-2")
    path = f"/machine-groups/{api.create('/machine-groups', name=unique)['id']}/vms"
    api.create(path, context_id=two)
    problem = api.call("POST", path, {"vm_context_ids": [one, two]}, status=409)
    assert two in problem["detail"]
    assert api.get(path)["total"] == 1
    for body in ({}, {"context_id": one, "vm_context_id": one}, {"context_id": one, "vm_context_ids": [one]}):
        problem = api.call("POST", path, body, status=422)
        assert [error["field"] for error in problem["errors"]] == ["context_id"]


def test_the_vms_in_no_group_are_found(api: Client, unique: str) -> None:
    alone, grouped = vm(api, f"{unique}-alone"), vm(api, f"{unique}-grouped")
    api.create("/machine-groups", name=unique, members=[{"context_id": grouped}])
    found = api.get("/discovery/ungrouped-vms")
    ids = [one["context_id"] for one in found["vms"]]
    assert alone in ids
    assert grouped not in ids
    assert api.get("/discovery/ungrouped-vms", params={"limit": 1})["count"] == found["count"] >= 1


def test_a_vm_says_its_groups_its_state_and_its_host(api: Client, unique: str) -> None:
    target = vm(api, unique, labels={"vcenter_host": "vc-1"})
    new = api.get(f"/vm-contexts/{target}")
    assert (new["groups"], new["vcenter_host"], new["current_status"]) == ([], "vc-1", "discovered")
    member = {"context_id": target, "enabled": False}
    group = api.create("/machine-groups", name=unique, members=[member])
    store = {"type": "simulated", "location": "/x"}
    repository = api.create("/repositories", name=unique, **store, config={"seconds": 60})["id"]
    running = api.call("POST", "/backups", {"context_id": target, "repository_id": repository}, status=202)
    api.until(f"/vm-contexts/{target}", lambda found: found["current_status"] == "replicating")
    api.call("POST", f"/executions/{running['id']}/cancel", status=202)
    api.ended(running["id"])
    assert api.get(f"/vm-contexts/{target}")["current_status"] == "discovered"
    api.call("PUT", f"/repositories/{repository}", {"config": {}})
    api.ended(api.call("POST", "/backups", {"context_id": target, "repository_id": repository}, status=202)["id"])
    (found,) = api.get("/vm-contexts", params={"q": unique})["vm_contexts"]
    assert found["current_status"] == "ready_for_failover"
    assert found["groups"] == [{"group_id": group["id"], "group_name": unique, "enabled": False}]
    assert api.get(f"/vm-contexts/{vm(api, f'{unique}b')}")["vcenter_host"] == ""


def test_a_disk_has_a_size_whether_or_not_the_definition_says_it(api: Client, unique: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(3 << 29)
    said = {"disk_id": "d0", "path": str(disk), "size_gb": 40.5}
    unsaid = {"disk_id": "d1", "path": str(disk)}
    unseen = {"disk_id": "d2", "path": str(tmp_path / "nothing.raw")}
    folder = {"disk_id": "d3", "path": str(tmp_path)}
    target = vm(api, unique, disks=[said, unsaid, unseen, folder])
    for found in (api.get("/vm-contexts", params={"q": unique})["vm_contexts"][0], api.get(f"/vm-contexts/{target}")):
        assert [one["size_gb"] for one in found["disks"]] == [40.5, 1.5, 0, 0]
    defined = api.get(f"/vm-contexts/{target}/disks")["disks"]
    assert [one["size_gb"] for one in defined] == [40.5, None, None, None]


def test_a_group_keeps_what_is_shown_of_it_and_says_that_it_is_not_applied(api: Client, unique: str) -> None:
    schedule = api.create("/schedules", name=unique, cron_expression="0 2 * * *")["id"]
    given = {"schedule_id": schedule, "max_concurrent_vms": 3, "priority": 7}
    body = {"name": unique, "description": None, **given, "created_by": "somebody"}
    made = api.create("/machine-groups", **body)
    assert given | made == made
    assert (made["description"], made["schedule_name"], made["last_execution"]) == ("", unique, None)
    assert made["created_by"] == "admin"
    assert [one["field"] for one in made["not_applied"]] == list(given)
    path = f"/machine-groups/{made['id']}"
    assert api.get("/machine-groups", params={"q": unique})["groups"] == [made] == [api.get(path)]
    problem = api.call("DELETE", f"/schedules/{schedule}", status=409)
    assert f"group '{unique}'" in problem["detail"]
    api.call("DELETE", f"/schedules/{schedule}?detach=true", status=204)
    assert api.get(path)["schedule_id"] is None
    change = {"description": None, "max_concurrent_vms": None, "priority": 0, "created_by": "x"}
    changed = api.call("PUT", path, change)
    assert (changed["max_concurrent_vms"], changed["priority"], changed["not_applied"]) == (None, 0, [])
    problem = api.call("PUT", path, {"schedule_id": "nothing"}, status=422)
    assert problem["errors"][0]["field"] == "schedule_id"


def test_a_group_says_when_a_flow_over_it_last_ran(api: Client, unique: str) -> None:
    made = flow(api, unique)
    ended = api.ended(api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)["id"])
    assert api.get(f"/machine-groups/{made['target_id']}")["last_execution"] == ended["started_at"]


def test_an_update_of_a_flow_may_send_back_what_it_was_shown(api: Client, unique: str) -> None:
    made = flow(api, unique)
    shown = {"source": {"any": "thing"}, "destination": "there", "nextRun": None}
    changed = api.call("PUT", f"/protection-flows/{made['id']}", {"priority": 5, **shown})
    assert (changed["priority"], changed["version"]) == (5, 2)
    for name, value in shown.items():
        problem = api.call("POST", "/protection-flows", {"name": f"{unique}b", name: value}, status=422)
        assert {"field": name, "message": "this field is unknown"} in problem["errors"]


def test_repositories_say_their_space(api: Client, unique: str, tmp_path: Path) -> None:
    made = directory(api, unique, tmp_path)
    listed = api.get("/repositories", params={"q": unique})
    shown = {name: value for name, value in made.items() if name not in {"warnings", "inspections"}}
    assert (listed["success"], listed["total"], listed["repositories"]) == (True, 1, [shown])
    found = made["storage_info"]
    assert found["total_bytes"] == found["used_bytes"] + found["available_bytes"]
    assert 0 < found["used_percent"] <= 100
    assert found["backup_count"] == 0
    assert found["last_check_at"].endswith("Z")
    target = vm(api, unique, disks=[{"disk_id": "d", "path": __file__}])
    api.ended(api.call("POST", "/backups", {"context_id": target, "repository_id": made["id"]}, status=202)["id"])
    assert api.get(f"/repositories/{made['id']}")["storage_info"]["backup_count"] == 1


@pytest.mark.parametrize(("engine", "location"), [("simulated", "/x"), ("directory", "/nowhere/at/all")])
def test_space_that_cannot_be_seen_is_not_invented(api: Client, unique: str, engine: str, location: str) -> None:
    found = api.create("/repositories", name=unique, type=engine, location=location)["storage_info"]
    assert {found[name] for name in ("total_bytes", "used_bytes", "available_bytes", "used_percent")} == {None}


def test_refreshing_looks_at_the_space_anew(api: Client, unique: str, tmp_path: Path) -> None:
    made = directory(api, unique, tmp_path)
    path = f"/repositories/{made['id']}"
    assert api.get(path)["storage_info"]["last_check_at"] == made["storage_info"]["last_check_at"]
    answer = api.call("POST", "/repositories/refresh-storage")
    assert answer["success"] is True
    assert api.get(path)["storage_info"]["last_check_at"] > made["storage_info"]["last_check_at"]


def test_a_local_repository_is_a_folder(api: Client, unique: str, tmp_path: Path) -> None:
    config = {"path": str(tmp_path), "compression": True}
    made = api.create("/repositories", name=unique, type="local", config=config)
    assert (made["type"], made["location"], made["config"]) == ("directory", str(tmp_path), {"compression": True})
    problem = api.call("POST", "/repositories", {"name": f"{unique}b", "type": "local"}, status=422)
    assert [error["field"] for error in problem["errors"]] == ["location"]


def test_deleting_a_repository_says_so(api: Client, unique: str, tmp_path: Path) -> None:
    made = directory(api, unique, tmp_path)
    answer = api.call("DELETE", f"/repositories/{made['id']}")
    assert answer["success"] is True
    assert unique in answer["message"]
    api.call("DELETE", f"/repositories/{made['id']}", status=404)


def test_a_repository_is_tried_before_it_is_saved(api: Client, tmp_path: Path) -> None:
    before = api.get("/repositories")["total"]
    good = api.call("POST", "/repositories/test", {"type": "local", "config": {"path": str(tmp_path)}})
    assert good["success"] is True
    assert good["storage"]["total_bytes"] >= good["storage"]["available_bytes"] > 0
    assert good["storage"]["writable"] is True
    assert list(tmp_path.iterdir()) == []
    assert api.get("/repositories")["total"] == before


def test_why_a_repository_cannot_be_used_is_said(api: Client, running: Running, tmp_path: Path) -> None:
    def tried(location: str) -> str:
        found = api.call("POST", "/repositories/test", {"type": "directory", "location": location})
        assert (found["success"], found["storage"]) == (False, None)
        return str(found["message"])

    (tmp_path / "file").touch()
    assert "No such file" in tried(str(tmp_path / "missing"))
    assert "Not a directory" in tried(str(tmp_path / "file"))
    assert "not an absolute path" in tried("relative")
    assert "where no disk is read and no backup written" in tried("/etc")
    assert "where no disk is read and no backup written" in tried(str(running.folder / "nats"))
    simulated = {"type": "simulated", "config": {"seconds": -1}}
    assert "config.seconds" in api.call("POST", "/repositories/test", simulated)["message"]
    assert api.call("POST", "/repositories/test", {"type": "simulated"})["success"] is True
    problem = api.call("POST", "/repositories/test", {"type": "directory"}, status=422)
    assert problem["errors"][0]["field"] == "location"


@pytest.mark.parametrize("path", ["/protection-flows/nothing", "/nowhere", "/policies?limit=0", "/policies?x=1"])
def test_errors_say_error_beside_detail(api: Client, running: Running, path: str) -> None:
    found = api.http.get(path).json()
    assert found["error"] == found["detail"]
    refused = httpx.get(f"{running.url}/api/v1{path}").json()
    assert refused["error"] == refused["detail"]


@pytest.mark.parametrize("state", ["poweredOn", "poweredOff", "suspended"])
def test_power_states_are_the_hypervisors(api: Client, unique: str, state: str) -> None:
    made = api.create("/vm-contexts", vm_name=unique, power_state=state)
    assert made["power_state"] == state
