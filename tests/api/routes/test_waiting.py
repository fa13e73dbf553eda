"""What must wait, over HTTP: it has its id at once, and stands where people look for it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.made import flow, vm
from tests.running import Client


def running(api: Client, name: str, **given: Any) -> tuple[dict[str, Any], str]:
    """Return a flow, and its execution that runs for long."""
    made = flow(api, name, config={"seconds": 60}, **given)
    first = api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)["execution_id"]
    api.until(f"/executions/{first}", lambda found: found["jobs_running"] == 1)
    return made, first


@pytest.mark.parametrize("policy", ["buffer_one", "buffer_all"])
def test_a_manual_run_that_must_wait_is_pending_at_once(api: Client, unique: str, policy: str) -> None:
    made, first = running(api, unique, overlap_policy=policy)
    path = f"/protection-flows/{made['id']}"
    key = {"Idempotency-Key": str(uuid.uuid4())}
    waits = api.call("POST", f"{path}/execute", status=202, headers=key)
    assert (waits["status"], waits["started_at"], waits["execution_id"]) == ("pending", None, waits["id"])
    assert waits["waiting_for"].startswith(f"execution {first} of this flow, which began at ")
    assert waits["message"] == f"waiting for {waits['waiting_for']}"
    assert (waits["triggered_by"], waits["execution_type"]) == ("admin", "manual")
    again = api.call("POST", f"{path}/execute", status=202, headers=key)
    assert again == waits
    (mine,) = [one for one in api.get("/queue")["pending"] if one["flow_id"] == made["id"]]
    assert (mine["execution_id"], mine["waiting_for"]) == (waits["id"], waits["waiting_for"])
    now = api.get(f"{path}/status")
    assert [one["id"] for one in now["pending_executions"]] == [waits["id"]]
    assert [one["id"] for one in now["running_executions"]] == [first]
    listed = api.get("/executions", params={"status": "pending", "flow_id": made["id"]})
    assert [one["id"] for one in listed["executions"]] == [waits["id"]]
    problem = api.call("POST", f"/executions/{waits['id']}/retry", status=409)
    assert problem["detail"].endswith("waits for its turn: nothing to retry yet")
    # its turn comes when the first one has ended
    api.call("POST", f"/executions/{first}/cancel", status=202)
    begun = api.until(f"/executions/{waits['id']}", lambda found: found["status"] == "running")
    assert begun["waiting_for"] is None
    assert begun["created_at"] == waits["created_at"] < begun["started_at"]
    api.call("POST", f"/executions/{waits['id']}/cancel", status=202)
    assert api.ended(waits["id"])["status"] == "cancelled"


def test_a_run_that_waits_can_be_cancelled(api: Client, unique: str) -> None:
    made, first = running(api, unique, overlap_policy="buffer_one")
    path = f"/protection-flows/{made['id']}"
    waits = api.call("POST", f"{path}/execute", status=202)
    api.call("POST", f"/executions/{waits['id']}/cancel", status=202)
    ended = api.ended(waits["id"])
    assert (ended["status"], ended["error_message"], ended["started_at"]) == ("cancelled", "cancelled by admin", None)
    assert [one["id"] for one in api.get(f"{path}/status")["running_executions"]] == [first]
    types = [one["event"]["type"] for one in api.get(f"/executions/{waits['id']}/events")["events"]]
    assert types == ["command.flow.execute", "flow.buffered", "flow.cancelling", "flow.skipped"]
    problem = api.call("POST", f"/executions/{waits['id']}/retry", status=409)
    assert problem["detail"].endswith("never began: run its flow")
    api.call("DELETE", f"{path}?force=true", status=204)


def test_an_ad_hoc_backup_is_answered_with_the_backup(api: Client, unique: str) -> None:
    context_id = vm(api, unique)
    body = {"repository_id": api.create("/repositories", name=unique, type="simulated", location="/x")["id"]}
    made = api.call("POST", "/backups", {"context_id": context_id, **body}, status=202)
    found = api.get(f"/backups/{made['backup_id']}")
    assert (found["id"], found["execution_id"], found["context_id"]) == (
        made["backup"]["id"],
        made["execution_id"],
        context_id,
    )
    assert made["created_job_ids"] == [made["backup_id"]]
    # by its name, too
    key = {"Idempotency-Key": unique}
    by_name = api.call("POST", "/backups", {"context_id": unique, **body}, status=202, headers=key)
    assert by_name["backup"]["context_id"] == context_id
    again = api.call("POST", "/backups", {"context_id": context_id, **body}, status=202, headers=key)
    assert again["backup_id"] == by_name["backup_id"]
    api.call("PUT", f"/vm-contexts/{context_id}", {"vm_name": f"{unique}-renamed"})
    again = api.call("POST", "/backups", {"context_id": unique, **body}, status=202, headers=key)
    assert again["backup_id"] == by_name["backup_id"]


def test_a_vm_whose_name_others_have_is_named_by_its_id(api: Client, unique: str) -> None:
    ids = [vm(api, unique) for _ in range(2)]
    repository = api.create("/repositories", name=unique, type="simulated", location="/x")["id"]
    problem = api.call("POST", "/backups", {"context_id": unique, "repository_id": repository}, status=422)
    assert problem["errors"][0]["field"] == "context_id"
    assert f"2 definitions of a vm have the name '{unique}': say which, by its id: " in problem["detail"]
    assert {*problem["detail"].rpartition("id: ")[2].split(", ")} == {*ids}
    made = api.call("POST", "/backups", {"context_id": ids[1], "repository_id": repository}, status=202)
    assert made["backup"]["context_id"] == ids[1]


def test_a_backup_of_a_disabled_vm_has_none(api: Client, unique: str) -> None:
    context_id = vm(api, unique, enabled=False)
    repository = api.create("/repositories", name=unique, type="simulated", location="/x")["id"]
    made = api.call("POST", "/backups", {"context_id": context_id, "repository_id": repository}, status=202)
    assert (made["backup_id"], made["backup"], made["message"]) == (None, None, "nothing to back up")
