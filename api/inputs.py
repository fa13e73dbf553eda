"""What people send. The same shapes as on the log, but strict: a field that is not known is an error, not a shrug."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from schemas.base import Id, Priority, Value
from schemas.definitions import (
    Disk,
    FlowPatch,
    FlowSpec,
    GroupPatch,
    GroupSpec,
    Member,
    PolicyPatch,
    PolicySpec,
    RepositoryPatch,
    RepositorySpec,
    SchedulePatch,
    ScheduleSpec,
    VmPatch,
    VmSpec,
)


class DiskInput(Disk, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class MemberInput(Member, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class MemberPatch(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    enabled: bool | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET


class VmInput(VmSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`context_id` is the hypervisor's own id for the VM; left out, the engine makes one."""

    context_id: Id | None = None
    disks: Annotated[list[DiskInput], Meta(max_length=256)] = []  # type: ignore[assignment]


class VmPatchInput(VmPatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    disks: Annotated[list[DiskInput], Meta(max_length=256)] | UnsetType = UNSET  # type: ignore[assignment]


class GroupInput(GroupSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    members: list[MemberInput] = []  # type: ignore[assignment]


class GroupPatchInput(GroupPatch, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class ScheduleInput(ScheduleSpec, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class SchedulePatchInput(SchedulePatch, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class RepositoryInput(RepositorySpec, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class RepositoryPatchInput(RepositoryPatch, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class PolicyInput(PolicySpec, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class PolicyPatchInput(PolicyPatch, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class FlowInput(FlowSpec, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class FlowPatchInput(FlowPatch, frozen=True, kw_only=True, forbid_unknown_fields=True): ...
