"""VMs, groups, schedules, repositories and policies."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from api.responses.applied import NotApplied
from schemas.base import Value
from schemas.definitions import Disk, Member, Policy, PowerState, Schedule

VmState = Literal["discovered", "replicating", "ready_for_failover"]


class GroupOfVm(Value, frozen=True, kw_only=True):
    """A group that a VM is in, and whether it is enabled there."""

    group_id: str
    group_name: str
    enabled: bool


class SizedDisk(Value, frozen=True, kw_only=True):
    """A disk with its size: as defined, else that of its file; 0 when neither says it."""

    disk_id: str
    path: str
    size_gb: float


class VmResponse(Value, frozen=True, kw_only=True):
    """A VM, with the groups that it is in.

    `current_status`: `replicating` while it is being backed up, `ready_for_failover` when there is a backup to recover
    it from, else `discovered`. `vcenter_host`: its label of that name.
    """

    context_id: str
    vm_name: str
    description: str
    power_state: PowerState
    os_type: str
    cpu_count: int
    memory_mb: int
    tags: list[str]
    labels: dict[str, str]
    worker_labels: dict[str, str]
    enabled: bool
    disks: list[SizedDisk]
    groups: list[GroupOfVm]
    vcenter_host: str
    current_status: VmState
    version: int
    created_at: datetime
    updated_at: datetime
    created_by: str


class VmList(Value, frozen=True, kw_only=True):
    vm_contexts: list[VmResponse]
    total: int


class GroupVms(Value, frozen=True, kw_only=True):
    """The VMs of a group, in its order; `count` is how many there are in all."""

    members: list[VmResponse]
    count: int


class UngroupedVms(Value, frozen=True, kw_only=True):
    """VMs that are in no group, newest first; `count` is how many there are in all."""

    vms: list[VmResponse]
    count: int


class VmContext(Value, frozen=True, kw_only=True):
    context: VmResponse


class DiskList(Value, frozen=True, kw_only=True):
    """A VM's disks as they are defined."""

    disks: list[Disk]


class GroupResponse(Value, frozen=True, kw_only=True):
    """A protection group, with counts of its members: a VM is enabled when it is so itself and in the group.

    `last_execution`: when a flow over it last began to run. `not_applied`: what is kept and has no effect.
    """

    id: str
    name: str
    description: str
    enabled: bool
    schedule_id: str | None
    schedule_name: str | None
    max_concurrent_vms: int | None
    priority: int
    last_execution: datetime | None
    not_applied: list[NotApplied]
    total_vms: int
    enabled_vms: int
    disabled_vms: int
    version: int
    created_at: datetime
    updated_at: datetime
    created_by: str


class GroupList(Value, frozen=True, kw_only=True):
    groups: list[GroupResponse]
    total: int


class MemberResponse(Member, frozen=True, kw_only=True):
    """A member of a group, with its VM's name; `vm_context_id` is its `context_id`."""

    vm_context_id: str
    vm_name: str
    vm_enabled: bool


class MemberList(Value, frozen=True, kw_only=True):
    vms: list[MemberResponse]
    total: int


class ScheduleList(Value, frozen=True, kw_only=True):
    schedules: list[Schedule]
    total: int


class PolicyResponse(Policy, frozen=True, kw_only=True):
    """A policy. `not_applied`: what of it has no effect yet."""

    not_applied: list[NotApplied]


class PolicyList(Value, frozen=True, kw_only=True):
    policies: list[PolicyResponse]
    total: int
