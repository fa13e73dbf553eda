"""VMs, groups, schedules, repositories and policies."""

from __future__ import annotations

from datetime import datetime

from schemas.base import Value
from schemas.definitions import Disk, Member, Policy, Repository, Schedule
from services.worker.inspection import WorkerSeen


class VmResponse(Value, frozen=True, kw_only=True):
    """A VM; its disks have a route of their own."""

    context_id: str
    vm_name: str
    description: str
    power_state: str
    os_type: str
    cpu_count: int
    memory_mb: int
    tags: list[str]
    labels: dict[str, str]
    enabled: bool
    version: int
    created_at: datetime
    updated_at: datetime
    created_by: str


class VmList(Value, frozen=True, kw_only=True):
    vm_contexts: list[VmResponse]
    total: int


class VmContext(Value, frozen=True, kw_only=True):
    context: VmResponse


class DiskList(Value, frozen=True, kw_only=True):
    disks: list[Disk]


class GroupResponse(Value, frozen=True, kw_only=True):
    """A protection group, with counts of its members: a VM is enabled when it is so itself and in the group."""

    id: str
    name: str
    description: str
    enabled: bool
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
    """A member of a group, with its VM's name."""

    vm_name: str
    vm_enabled: bool


class MemberList(Value, frozen=True, kw_only=True):
    vms: list[MemberResponse]
    total: int


class ScheduleList(Value, frozen=True, kw_only=True):
    schedules: list[Schedule]
    total: int


class CreatedRepository(Repository, frozen=True, kw_only=True):
    """A repository that was just created. `warnings`: what would keep backups from it, as far as workers can see.

    `inspections`: what those workers saw that could look; empty when none could.
    """

    warnings: list[str]
    inspections: list[WorkerSeen]


class RepositoryList(Value, frozen=True, kw_only=True):
    repositories: list[Repository]
    total: int


class PolicyList(Value, frozen=True, kw_only=True):
    policies: list[Policy]
    total: int
