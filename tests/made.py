"""Definitions made over the API, for tests on a running engine."""

from __future__ import annotations

from typing import Any

from tests.running import Client


def vm(api: Client, name: str, **given: Any) -> str:
    return str(api.create("/vm-contexts", vm_name=name, **given)["context_id"])


def flow(api: Client, name: str, vms: int = 1, **given: Any) -> dict[str, Any]:
    """Create a flow over new VMs, with the simulated engine."""
    members = [{"context_id": vm(api, f"{name}-{number}")} for number in range(vms)]
    group = api.create("/machine-groups", name=name, members=members)
    config = given.pop("config", {})
    repository = api.create("/repositories", name=name, type="simulated", location="/x", config=config)
    fields = {"name": name, "flow_type": "backup", "target_type": "group", "target_id": group["id"]}
    made: dict[str, Any] = api.create("/protection-flows", **fields | {"repository_id": repository["id"]} | given)
    return made


def scheduled(api: Client, name: str, expression: str, zone: str = "UTC", **given: Any) -> dict[str, Any]:
    """Create a flow with a schedule of its own."""
    schedule = api.create("/schedules", name=name, cron_expression=expression, timezone=zone)
    return flow(api, name, schedule_id=schedule["id"], **given)
