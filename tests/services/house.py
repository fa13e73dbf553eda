"""A house to tell stories about: some VMs in a group, a repository, a policy and a flow over them."""

from __future__ import annotations

from typing import Any

from schemas import commands as c
from schemas.definitions import Disk, FlowSpec, GroupSpec, Member, PolicySpec, RepositorySpec, VmSpec
from tests.services.conftest import Engine


def house(vms: int = 3, *, config: dict[str, Any] | None = None, policy: PolicySpec | None = None) -> list[c.Command]:
    names = [f"vm-{number}" for number in range(vms)]
    flow = FlowSpec(
        name="flow",
        flow_type="backup",
        target_type="group",
        target_id="group",
        repository_id="repository",
        policy_id="policy",
    )
    return [
        *(c.CreateVm(id=name, spec=VmSpec(vm_name=name, disks=[Disk(disk_id="d", path="/x")])) for name in names),
        c.CreateGroup(id="group", spec=GroupSpec(name="group", members=[Member(context_id=name) for name in names])),
        c.CreateRepository(
            id="repository",
            spec=RepositorySpec(name="repository", type="simulated", location="/x", config=config or {}),
        ),
        c.CreatePolicy(id="policy", spec=policy or PolicySpec(name="policy")),
        c.CreateFlow(id="flow", spec=flow),
    ]


async def built(engine: Engine, commands: list[c.Command]) -> None:
    await engine.ask(*commands)
    await engine.until("catalog.*.*", len(commands))
