"""What a body refers to may be called by its id, or by a name that it alone has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.made import flow, vm
from tests.running import Client

STORE = {"type": "simulated", "location": "/x"}


def house(api: Client, name: str) -> dict[str, Any]:
    """Create a definition of each kind, all with the same name, and return a flow's fields that refer to them by it."""
    target = vm(api, name)
    api.create("/machine-groups", name=name, members=[{"context_id": target}])
    api.create("/repositories", name=name, **STORE)
    api.create("/policies", name=name)
    api.create("/schedules", name=name, cron_expression="0 2 * * *")
    references = dict.fromkeys(("target_id", "repository_id", "policy_id", "schedule_id"), name)
    return {"name": name, "flow_type": "backup", "target_type": "group", **references}


@pytest.mark.parametrize("kind", ["vm", "group"])
def test_a_flow_refers_by_name(api: Client, unique: str, kind: str) -> None:
    name = f"all of {unique}"
    made = api.create("/protection-flows", **house(api, name) | {"target_type": kind})
    assert {made[f"{what}_name"] for what in ("target", "repository", "policy", "schedule")} == {name}
    assert name not in {made[f"{what}_id"] for what in ("target", "repository", "policy", "schedule")}
    path = f"/protection-flows/{made['id']}"
    other = f"{name}, too"
    api.create("/policies", name=other)
    assert api.call("PUT", path, {"policy_id": other})["policy_name"] == other
    assert api.call("PUT", path, {"policy_id": None, "target_id": name})["target_id"] == made["target_id"]


def test_an_id_wins_over_a_name(api: Client, unique: str) -> None:
    first = vm(api, unique)
    vm(api, first)  # whose name is the other's id
    made = api.create("/machine-groups", name=unique, members=[{"context_id": first}])
    assert [one["context_id"] for one in api.get(f"/machine-groups/{made['id']}/vms")["vms"]] == [first]


def test_a_name_that_several_have_is_refused_with_their_ids(api: Client, unique: str) -> None:
    ids = sorted(vm(api, unique) for _ in range(2))
    problem = api.call("POST", "/machine-groups", {"name": unique, "members": [{"context_id": unique}]}, status=422)
    (error,) = problem["errors"]
    assert error["field"] == "members[0].context_id"
    assert error["message"].endswith(f"by its id: {', '.join(ids)}")


def test_every_name_that_nobody_has_is_named_at_once(api: Client, unique: str) -> None:
    nobody = f"nobody {unique}"
    body = house(api, unique) | dict.fromkeys(("target_id", "repository_id", "policy_id", "schedule_id"), nobody)
    problem = api.call("POST", "/protection-flows", body, status=422)
    fields = {error["field"] for error in problem["errors"]}
    assert fields == {"target_id", "repository_id", "policy_id", "schedule_id"}
    assert all(nobody in error["message"] for error in problem["errors"])


def test_members_backups_and_what_is_cancelled_are_named_too(api: Client, unique: str) -> None:
    name = f"the {unique}"
    targets = [vm(api, f"{name} {number}") for number in range(3)]
    api.create("/schedules", name=name, cron_expression="0 2 * * *")
    group = api.create("/machine-groups", name=name, schedule_id=name)
    assert group["schedule_name"] == name
    path = f"/machine-groups/{group['id']}/vms"
    assert api.create(path, context_id=f"{name} 0")["context_id"] == targets[0]
    added = api.create(path, vm_context_ids=[f"{name} 1", f"{name} 2"])["vms"]
    assert [one["context_id"] for one in added] == targets[1:]
    api.create("/repositories", name=name, **STORE, config={"seconds": 60})
    body = {"context_id": f"{name} 0", "repository_id": name}
    started = api.call("POST", "/backups", body, status=202)
    api.call("POST", f"/executions/{started['id']}/cancel", {"context_id": f"{name} 0"}, status=202)
    api.ended(started["id"])
    assert [job["status"] for job in api.get(f"/executions/{started['id']}/jobs")["jobs"]] == ["cancelled"]
    problem = api.call("POST", "/backups", {"context_id": "x y", "repository_id": "z z"}, status=422)
    assert {error["field"] for error in problem["errors"]} == {"context_id", "repository_id"}


def test_many_flows_are_called_by_their_names(api: Client, unique: str) -> None:
    made = flow(api, f"my {unique}", vms=0)
    wanted = [made["name"], made["id"], "no body"]
    done = api.call("POST", "/protection-flows/bulk-disable", {"flow_ids": wanted})
    assert (done["successful"], done["failed"], list(done["errors"])) == (1, 1, ["no body"])
    assert api.get(f"/protection-flows/{made['id']}")["enabled"] is False


def test_a_request_that_comes_again_means_what_it_meant(api: Client, unique: str) -> None:
    name = f"all of {unique}"
    body, key = house(api, name), {"Idempotency-Key": unique}
    made = api.call("POST", "/protection-flows", body, status=201, headers=key)
    api.call("PUT", f"/policies/{made['policy_id']}", {"name": f"{name}, renamed"})
    again = api.call("POST", "/protection-flows", body, status=201, headers=key)
    assert (again["id"], again["version"]) == (made["id"], 1)
