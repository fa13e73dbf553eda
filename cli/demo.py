"""The demo: three VMs with real disk images, and a flow over them every minute, through the API as any client.

It may be forgotten and run on. So what it writes is bounded: each run backs up some tens of KiB, and the schedule ends
on the day after the demo was last started.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from bus.clock import now
from cli.client import Api

KIB, MIB = 1 << 10, 1 << 20
NOISE = KIB  # bytes of each MiB of data that cannot be compressed; the rest takes next to nothing
LASTS = timedelta(days=1)  # from the day on which it was last started
FLOW = "Demo: every minute"


def seed(api: Api, folder: Path) -> str:
    """Set up the demo, unless it is there, and return its flow's id. Raises `RuntimeError` when the API refuses."""
    repository = folder / "repository"
    repository.mkdir(parents=True, exist_ok=True)
    disks = images(folder / "disks")
    if there := api.call("GET", "/protection-flows", params={"q": FLOW})["flows"]:
        _prolong(api, there[0]["schedule_id"])
        return str(there[0]["id"])
    for number, (context_id, paths) in enumerate(disks.items(), start=1):
        vm = {
            "context_id": context_id,
            "vm_name": f"Demo VM {number}",
            "power_state": "poweredOn",
            "os_type": "linux",
            "cpu_count": 2,
            "memory_mb": 4096,
            "disks": [{"disk_id": path.stem, "path": str(path)} for path in paths],
        }
        _create(api, "/vm-contexts", vm)
    members = [{"context_id": context_id} for context_id in disks]
    group = _create(api, "/machine-groups", {"name": "Demo VMs", "members": members})
    store = {"name": "Demo repository", "type": "directory", "location": str(repository)}
    policy = {"name": "Demo policy", "retry_attempts": 1}
    schedule = {"name": "Every minute", "cron_expression": "* * * * *"}
    flow = {
        "name": FLOW,
        "flow_type": "backup",
        "target_type": "group",
        "target_id": group["id"],
        "repository_id": _create(api, "/repositories", store)["id"],
        "policy_id": _create(api, "/policies", policy)["id"],
        "schedule_id": _create(api, "/schedules", schedule)["id"],
    }
    _prolong(api, flow["schedule_id"])
    return str(_create(api, "/protection-flows", flow)["id"])


def _prolong(api: Api, schedule_id: str | None) -> None:
    """Let the schedule end a day from now, if it is still there."""
    if schedule_id is not None:
        api.call("PUT", f"/schedules/{schedule_id}", json={"end_date": (now() + LASTS).date().isoformat()})


def images(folder: Path) -> dict[str, list[Path]]:
    """Write disk images of 8 to 128 MiB, one of them mostly holes, and return them by VM."""
    folder.mkdir(exist_ok=True)
    small, large, sparse = folder / "small.raw", folder / "large.raw", folder / "sparse.raw"
    data = folder / "data.raw"
    _write(small, [(0, 12)], 12)
    _write(large, [(0, 32)], 32)
    _write(sparse, [(0, 4), (96, 4)], 128)
    _write(data, [(0, 8)], 8)
    return {"demo-vm-1": [small], "demo-vm-2": [large, data], "demo-vm-3": [sparse]}


def _write(file: Path, extents: list[tuple[int, int]], size: int) -> None:
    """Write a file of `size` MiB with data at (offset, length) in MiB, most of it compressible, and holes elsewhere."""
    if file.exists():
        return
    with file.open("wb") as image:
        for offset, length in extents:
            image.seek(offset * MIB)
            for _ in range(length):
                image.write(os.urandom(NOISE) + bytes(range(256)) * ((MIB - NOISE) // 256))
        image.truncate(size * MIB)


def _create(api: Api, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Create something, once: with its key, a demo that was interrupted goes on where it was."""
    key = f"demo:{body.get('context_id') or body['name']}"
    made: dict[str, Any] = api.call("POST", path, json=body, headers={"Idempotency-Key": key})
    return made
