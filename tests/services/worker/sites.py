"""Two sites, and what is at each."""

from __future__ import annotations

from schemas import commands as c
from schemas.definitions import FlowSpec, RepositorySpec, VmSpec

SITES = {"a": {"site": "a"}, "b": {"site": "b"}}
FAST = {"tier": "fast"}


def house() -> list[c.Command]:
    """Return a VM at any site and a fast one, a repository at each site and one at none, and all flows between them."""
    repositories = {"repo-a": SITES["a"], "repo-b": SITES["b"], "repo-any": {}}
    vms = {"vm": {}, "vm-fast": FAST}
    return [
        *(c.CreateVm(id=id_, spec=VmSpec(vm_name=id_, worker_labels=labels)) for id_, labels in vms.items()),
        *(
            c.CreateRepository(
                id=id_, spec=RepositorySpec(name=id_, type="simulated", location="/x", worker_labels=labels)
            )
            for id_, labels in repositories.items()
        ),
        *(
            c.CreateFlow(
                id=f"{vm}-{repository}",
                spec=FlowSpec(
                    name=f"{vm}-{repository}",
                    flow_type="backup",
                    target_type="vm",
                    target_id=vm,
                    repository_id=repository,
                ),
            )
            for vm in vms
            for repository in repositories
        ),
    ]
