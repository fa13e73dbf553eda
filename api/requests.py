"""What people send. The same shapes as on the log, but strict: a field that is not known is an error, not a shrug."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from schemas.base import PRINTABLE, FilePath, Id, Name, Priority, Prose, Value, Word
from schemas.definitions import (
    MOST_MEMBERS,
    Digest,
    Disk,
    Exclusion,
    FlowPatch,
    FlowSpec,
    GroupPatch,
    GroupSpec,
    Member,
    PolicyPatch,
    PolicySpec,
    RepositoryPatch,
    RepositorySpec,
    Role,
    SchedulePatch,
    ScheduleSpec,
    Setting,
    SettingsPatch,
    VmPatch,
    VmSpec,
)
from schemas.notifications import NotificationPatch, NotificationSpec
from schemas.workers import LONGEST, EnrolledLabels
from services.worker.engines.registration import ENGINES

LOCAL = "local"  # what existing clients call the engine `directory`

if TYPE_CHECKING:
    EngineType = str
else:
    EngineType = Literal[(*ENGINES, LOCAL)]


Reference = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=PRINTABLE,
        description="an id, or a name that one alone has",
        examples=["nightly"],
    ),
]


References = Annotated[list[Reference], Meta(max_length=1000)]


class StrictDisk(Disk, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class MemberRequest(Member, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class AddMembersRequest(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A VM to put into a group: its `context_id`, which existing clients call `vm_context_id`, or many at once."""

    context_id: Reference | None = None
    vm_context_id: Reference | None = None
    vm_context_ids: Annotated[list[Reference], Meta(min_length=1, max_length=MOST_MEMBERS)] | None = None
    enabled: bool = True
    priority: Priority = 0


class MemberPatchRequest(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    enabled: bool | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET


class VmRequest(VmSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`context_id` is the hypervisor's own id for the VM; left out, the engine makes one."""

    context_id: Id | None = None
    disks: Annotated[list[StrictDisk], Meta(max_length=256)] = []  # type: ignore[assignment]


class VmPatchRequest(VmPatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    disks: Annotated[list[StrictDisk], Meta(max_length=256)] | UnsetType = UNSET  # type: ignore[assignment]


class GroupRequest(GroupSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    description: Prose | None = ""  # type: ignore[assignment]  # null is an empty one (api/accepted.py)
    schedule_id: Reference | None = None
    members: Annotated[list[MemberRequest], Meta(max_length=MOST_MEMBERS)] = []  # type: ignore[assignment]


class GroupPatchRequest(GroupPatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    description: Prose | UnsetType | None = UNSET  # type: ignore[assignment]  # null is an empty one
    schedule_id: Reference | UnsetType | None = UNSET


class StrictExclusion(Exclusion, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class ScheduleRequest(ScheduleSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    exclusions: Annotated[list[StrictExclusion], Meta(max_length=100)] = []  # type: ignore[assignment]


class SchedulePatchRequest(SchedulePatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    exclusions: Annotated[list[StrictExclusion], Meta(max_length=100)] | UnsetType = UNSET  # type: ignore[assignment]


class RepositoryRequest(RepositorySpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`local` with `config.path` is `directory` with `location`, in the words of existing clients."""

    type: EngineType


class RepositoryTestRequest(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A repository to be tried before it is saved."""

    type: EngineType
    location: FilePath | None = None
    config: Annotated[dict[Word, Setting], Meta(max_length=64)] = {}


class RepositoryPatchRequest(RepositoryPatch, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class PolicyRequest(PolicySpec, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class PolicyPatchRequest(PolicyPatch, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class NotificationRequest(NotificationSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`flows`: ids, or names."""

    flows: References = []  # type: ignore[assignment]


class NotificationPatchRequest(NotificationPatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    flows: References | UnsetType = UNSET  # type: ignore[assignment]


class FlowRequest(FlowSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    target_id: Reference
    repository_id: Reference | None = None
    policy_id: Reference | None = None
    schedule_id: Reference | None = None


class FlowPatchRequest(FlowPatch, frozen=True, kw_only=True, forbid_unknown_fields=True):
    target_id: Reference | UnsetType = UNSET
    repository_id: Reference | UnsetType | None = UNSET
    policy_id: Reference | UnsetType | None = UNSET
    schedule_id: Reference | UnsetType | None = UNSET


class CloneRequest(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The name of a copy."""

    name: Name


class BulkRequest(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The flows to change, at most 500: their ids, or names."""

    flow_ids: Annotated[list[str], Meta(min_length=1, max_length=500)]


class CancelRequest(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which VM to cancel; left out, all of them."""

    context_id: Reference | None = None


class FreezeRequest(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Until when nothing is to start by its schedule, and why."""

    until: Annotated[datetime, Meta(tz=True)]
    reason: Prose


class SettingsPatchRequest(SettingsPatch, frozen=True, kw_only=True, forbid_unknown_fields=True): ...


class TokenRequest(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be created. `groups`: the groups that it is limited to, by id or name; null: no limit."""

    name: Name
    role: Role
    groups: Annotated[list[Reference], Meta(max_length=1000)] | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class WorkerRequest(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A worker that is to enrol itself. `expires_at`: until when it may; null: for an hour."""

    name: Id
    labels: EnrolledLabels = {}
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class EnrolmentRequest(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A one-time token, and the SHA-256 of the secret that the worker has made and keeps to itself."""

    token: Annotated[str, Meta(min_length=1, max_length=LONGEST)]
    digest: Digest


class BackfillRequest(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which past occurrences to execute now: from `from` up to `to`, and how many at a time.

    `mode`: those that are `missing` (never executed), that `failed` (or were cancelled), or `all`.
    """

    from_: Annotated[datetime, Meta(tz=True)] = field(name="from")
    to: Annotated[datetime, Meta(tz=True)]
    mode: Literal["missing", "failed", "all"] = "missing"
    dry_run: bool = False
    max_concurrent: Annotated[int, Meta(ge=1, le=100)] = 1


class BackupRequest(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One VM to back up at once, outside any flow: by its id, or by a name that no other VM has."""

    context_id: Reference
    repository_id: Reference
    policy_id: Reference | None = None


class SignInRequest(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token, for a session of a browser: the one body that holds a secret, which goes no further."""

    token: Annotated[str, Meta(min_length=1, max_length=512)]
