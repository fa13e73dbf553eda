"""The plan of an execution: which VMs its target holds at its start, and which of them are left out, and why."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.base import Value
from schemas.definitions import Flow
from schemas.events import ExcludedVm, PlannedBackup
from schemas.ids import backup_id
from services.catalogue import Catalogue

PART = 2000  # VMs in one part of a plan: keeps a message well under the server's limit


class Plan(Value, frozen=True, kw_only=True):
    """The VMs to back up, higher priority first, and those left out."""

    planned: list[PlannedBackup]
    excluded: list[ExcludedVm]

    @property
    def parts(self) -> list[list[PlannedBackup]]:
        """The planned VMs in parts of at most `PART`; one part, an empty one, when there are none."""
        return [self.planned[i : i + PART] for i in range(0, len(self.planned), PART)] or [[]]


def resolve(catalogue: Catalogue, flow: Flow, execution_id: str, only: frozenset[str] | None = None) -> Plan:
    """Return the plan of an execution that begins now. `only`: over these VMs of the target, for a retry."""
    planned: list[PlannedBackup] = []
    excluded: list[ExcludedVm] = []
    targets = list(_targets(catalogue, flow))
    for context_id, member_enabled in targets:
        vm = catalogue.vms.get(context_id)
        if vm is None:
            excluded.append(ExcludedVm(context_id=context_id, reason="the VM does not exist"))
        elif only is not None and context_id not in only:
            excluded.append(ExcludedVm(context_id=context_id, reason="it succeeded in the execution that is retried"))
        elif not member_enabled:
            excluded.append(ExcludedVm(context_id=context_id, reason="disabled in its group"))
        elif not vm.enabled:
            excluded.append(ExcludedVm(context_id=context_id, reason="the VM is disabled"))
        else:
            id_ = backup_id(execution_id, context_id)
            planned.append(PlannedBackup(backup_id=id_, context_id=context_id, vm_name=vm.vm_name))
    gone = sorted((only or frozenset()) - {context_id for context_id, _ in targets})
    excluded += [ExcludedVm(context_id=context_id, reason="no longer in the flow's target") for context_id in gone]
    return Plan(planned=planned, excluded=excluded)


def _targets(catalogue: Catalogue, flow: Flow) -> Iterator[tuple[str, bool]]:
    if flow.target_type == "vm":
        yield flow.target_id, True
        return
    group = catalogue.groups.get(flow.target_id)
    for member in sorted(group.members if group else [], key=lambda member: -member.priority):
        yield member.context_id, member.enabled


def nothing_to_do(catalogue: Catalogue, flow: Flow, plan: Plan) -> str:
    """Return why a plan is empty."""
    if flow.target_type == "vm":
        return f"nothing to back up: {plan.excluded[0].reason}"
    group = catalogue.groups[flow.target_id].name
    if not plan.excluded:
        return f"nothing to back up: group {group!r} is empty"
    return f"nothing to back up: all {len(plan.excluded)} VMs of group {group!r} are left out"
