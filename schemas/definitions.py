"""Definitions: what people configure.

For each kind a *spec* (the fields that people set), a *patch* (an update, where a field left out stays as it is) and
the *definition* itself (the spec with its id, version and times).
"""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from schemas.base import (
    MOST,
    Count,
    FilePath,
    Id,
    Instant,
    Integer,
    Labels,
    Name,
    Positive,
    Priority,
    Prose,
    Text,
    TimeZone,
    Value,
    Word,
)
from schemas.labels import WorkerLabels
from schemas.notifications import Notification, NotificationPatch, NotificationSpec

Kind = Literal["vm", "group", "schedule", "repository", "policy", "flow", "notification"]

Entity = (
    Kind | Literal["freeze", "settings", "token", "worker", "execution", "backup", "backfill", "history"]
)  # what a command may be about

FlowType = Literal["backup", "replication"]
TargetType = Literal["vm", "group"]
OverlapPolicy = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "allow"]
CatchUp = Literal["none", "last", "all"]
DstGap = Literal["shift", "skip"]
DstFold = Literal["first", "both"]
Weekday = Literal["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
BackupType = Literal["auto", "full", "incremental"]
EngineName = Annotated[
    str,
    Meta(pattern=r"^[a-z][a-z0-9_-]{0,63}$(?!\n)", description="the name of a backup engine", examples=["directory"]),
]
Setting = Annotated[str, Meta(max_length=1024, pattern=r"^[^\x00]*$")] | Integer | float | bool

CronExpression = Annotated[
    str,
    Meta(min_length=1, max_length=255, description="five cron fields, or a name like @daily", examples=["0 2 * * *"]),
]
LocalTime = Annotated[datetime, Meta(tz=False, description="a local time", examples=["2026-12-24T13:00:00"])]
Tags = Annotated[list[Word], Meta(max_length=64)]
Role = Literal["viewer", "operator", "admin"]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="a SHA-256 in hexadecimal")]
Roots = Annotated[list[FilePath], Meta(min_length=1, max_length=64)]  # absolute paths of folders


class Disk(Value, frozen=True, kw_only=True):
    """One disk of a VM: any file that holds its image (raw, qcow2, …), as the worker sees it."""

    disk_id: Id
    path: FilePath
    size_gb: Annotated[float, Meta(ge=0)] | None = None


Disks = Annotated[list[Disk], Meta(max_length=256)]


MOST_MEMBERS = 10_000  # of a group that is defined from now on; those on the log may have more


class Member(Value, frozen=True, kw_only=True):
    """A VM's place in a protection group. A disabled member is left out of executions, with that reason."""

    context_id: Id
    enabled: bool = True
    priority: Priority = 0


PowerState = Annotated[
    Word,
    Meta(description="as the hypervisor says: poweredOn, poweredOff or suspended, as a rule", examples=["poweredOn"]),
]


class VmSpec(Value, frozen=True, kw_only=True):
    """A virtual machine. Only a worker that has all `worker_labels` may back it up."""

    vm_name: Name
    description: Prose = ""
    power_state: PowerState = "unknown"
    os_type: Word = "unknown"
    cpu_count: Count = 0
    memory_mb: Count = 0
    tags: Tags = []
    labels: Labels = {}
    enabled: bool = True
    disks: Disks = []
    worker_labels: WorkerLabels = {}


class VmPatch(Value, frozen=True, kw_only=True):
    """What changes in a VM."""

    vm_name: Name | UnsetType = UNSET
    description: Prose | UnsetType = UNSET
    power_state: PowerState | UnsetType = UNSET
    os_type: Word | UnsetType = UNSET
    cpu_count: Count | UnsetType = UNSET
    memory_mb: Count | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    labels: Labels | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    disks: Disks | UnsetType = UNSET
    worker_labels: WorkerLabels | UnsetType = UNSET


class GroupSpec(Value, frozen=True, kw_only=True):
    """A protection group: VMs that are protected together.

    Its schedule, `max_concurrent_vms` and priority are kept for clients that show them, and start, limit and order
    nothing: those of its flows do.
    """

    name: Name
    description: Prose = ""
    enabled: bool = True
    schedule_id: Id | None = None
    max_concurrent_vms: Positive | None = None
    priority: Priority = 0
    members: Annotated[list[Member], Meta(max_length=MOST)] = []


class GroupPatch(Value, frozen=True, kw_only=True):
    """What changes in a group; its members have commands of their own."""

    name: Name | UnsetType = UNSET
    description: Prose | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    schedule_id: Id | UnsetType | None = UNSET
    max_concurrent_vms: Positive | UnsetType | None = UNSET
    priority: Priority | UnsetType = UNSET


class Exclusion(Value, frozen=True, kw_only=True):
    """When a schedule does not fire: on these weekdays, in this range of dates, between these times of day.

    All that is given must hold; times and dates are the schedule's own. A window whose `to_time` is not after its
    `from_time` goes over midnight, and belongs to the day on which it begins.
    """

    name: Name
    weekdays: Annotated[list[Weekday], Meta(max_length=7)] = []
    first_date: date | None = None
    last_date: date | None = None
    from_time: Annotated[time, Meta(tz=False)] | None = None
    to_time: Annotated[time, Meta(tz=False)] | None = None


Exclusions = Annotated[list[Exclusion], Meta(max_length=100)]
Expressions = Annotated[list[CronExpression], Meta(max_length=20)]
Inclusions = Annotated[list[LocalTime], Meta(max_length=1000)]
RetryAttempts = Annotated[int, Meta(ge=0, le=20)]
RetryDelay = Annotated[int, Meta(ge=1, le=86_400)]  # seconds
JitterSeconds = Annotated[int, Meta(ge=0, le=86_400)]
Days = Annotated[int, Meta(ge=1, le=36_500)]  # a hundred years: what lies before is out of the calendar's reach


class ScheduleSpec(Value, frozen=True, kw_only=True):
    """When: cron expressions in a time zone, and what to do about occurrences that passed while nothing ran.

    It fires when any of its expressions matches, from `start_date` to `end_date` (both included) and outside its
    exclusions, and at its `inclusions` (local times) always. `jitter_seconds`: the most by which flows begin later.
    """

    name: Name
    description: Prose = ""
    cron_expression: CronExpression
    more_expressions: Expressions = []
    timezone: TimeZone = "UTC"
    dst_gap: DstGap = "shift"
    dst_fold: DstFold = "first"
    exclusions: Exclusions = []
    inclusions: Inclusions = []
    start_date: date | None = None
    end_date: date | None = None
    jitter_seconds: JitterSeconds = 0
    enabled: bool = True
    catch_up: CatchUp = "last"
    catch_up_window_seconds: Count = 86_400
    max_concurrent_jobs: Positive | None = None


class SchedulePatch(Value, frozen=True, kw_only=True):
    """What changes in a schedule."""

    name: Name | UnsetType = UNSET
    description: Prose | UnsetType = UNSET
    cron_expression: CronExpression | UnsetType = UNSET
    more_expressions: Expressions | UnsetType = UNSET
    timezone: TimeZone | UnsetType = UNSET
    dst_gap: DstGap | UnsetType = UNSET
    dst_fold: DstFold | UnsetType = UNSET
    exclusions: Exclusions | UnsetType = UNSET
    inclusions: Inclusions | UnsetType = UNSET
    start_date: date | UnsetType | None = UNSET
    end_date: date | UnsetType | None = UNSET
    jitter_seconds: JitterSeconds | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    catch_up: CatchUp | UnsetType = UNSET
    catch_up_window_seconds: Count | UnsetType = UNSET
    max_concurrent_jobs: Positive | UnsetType | None = UNSET


class RepositorySpec(Value, frozen=True, kw_only=True):
    """Where to: `type` names the worker's engine, `location` is for that engine (a folder), `config` its settings.

    Only a worker that has all `worker_labels` may write to it.
    """

    name: Name
    description: Prose = ""
    type: EngineName
    enabled: bool = True
    location: FilePath
    max_concurrent_jobs: Positive | None = None
    config: Annotated[dict[Word, Setting], Meta(max_length=64)] = {}
    worker_labels: WorkerLabels = {}


class RepositoryPatch(Value, frozen=True, kw_only=True):
    """What changes in a repository; its engine never does."""

    name: Name | UnsetType = UNSET
    description: Prose | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    location: FilePath | UnsetType = UNSET
    max_concurrent_jobs: Positive | UnsetType | None = UNSET
    config: Annotated[dict[Word, Setting], Meta(max_length=64)] | UnsetType = UNSET
    worker_labels: WorkerLabels | UnsetType = UNSET


class PolicySpec(Value, frozen=True, kw_only=True):
    """How: retention, backup type, and for each VM's backup retries and a time-out (seconds).

    `execution_timeout_seconds`: when an execution is stopped. `start_deadline_seconds`: after this long what has not
    been started is skipped, be it an execution that waits for another one or a backup that waits for a slot.
    """

    name: Name
    description: Prose = ""
    enabled: bool = True
    keep_last: Count | None = None
    keep_daily: Count | None = None
    keep_weekly: Count | None = None
    keep_monthly: Count | None = None
    keep_yearly: Count | None = None
    backup_type: BackupType = "auto"
    retry_attempts: RetryAttempts = 0
    retry_delay_seconds: RetryDelay = 30
    timeout_seconds: Positive | None = None
    execution_timeout_seconds: Positive | None = None
    start_deadline_seconds: Positive | None = None


class PolicyPatch(Value, frozen=True, kw_only=True):
    """What changes in a policy."""

    name: Name | UnsetType = UNSET
    description: Prose | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    keep_last: Count | UnsetType | None = UNSET
    keep_daily: Count | UnsetType | None = UNSET
    keep_weekly: Count | UnsetType | None = UNSET
    keep_monthly: Count | UnsetType | None = UNSET
    keep_yearly: Count | UnsetType | None = UNSET
    backup_type: BackupType | UnsetType = UNSET
    retry_attempts: RetryAttempts | UnsetType = UNSET
    retry_delay_seconds: RetryDelay | UnsetType = UNSET
    timeout_seconds: Positive | UnsetType | None = UNSET
    execution_timeout_seconds: Positive | UnsetType | None = UNSET
    start_deadline_seconds: Positive | UnsetType | None = UNSET


class FlowSpec(Value, frozen=True, kw_only=True):
    """A protection flow: what to protect, when, where to and how."""

    name: Name
    description: Prose = ""
    flow_type: FlowType
    target_type: TargetType
    target_id: Id
    repository_id: Id | None = None
    policy_id: Id | None = None
    schedule_id: Id | None = None
    destination_type: Word | None = None
    destination_config: Annotated[dict[Word, Setting], Meta(max_length=64)] | None = None
    enabled: bool = True
    overlap_policy: OverlapPolicy = "skip"
    priority: Priority = 0
    max_concurrent_jobs: Positive | None = None
    labels: Labels = {}


class FlowPatch(Value, frozen=True, kw_only=True):
    """What changes in a flow."""

    name: Name | UnsetType = UNSET
    description: Prose | UnsetType = UNSET
    flow_type: FlowType | UnsetType = UNSET
    target_type: TargetType | UnsetType = UNSET
    target_id: Id | UnsetType = UNSET
    repository_id: Id | UnsetType | None = UNSET
    policy_id: Id | UnsetType | None = UNSET
    schedule_id: Id | UnsetType | None = UNSET
    destination_type: Word | UnsetType | None = UNSET
    destination_config: Annotated[dict[Word, Setting], Meta(max_length=64)] | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    overlap_policy: OverlapPolicy | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    max_concurrent_jobs: Positive | UnsetType | None = UNSET
    labels: Labels | UnsetType = UNSET


class Vm(VmSpec, frozen=True, kw_only=True):
    """A VM as the log has it. `id` is its `context_id`."""

    id: Id
    version: Count
    created_at: Instant
    updated_at: Instant
    created_by: Text


class Group(GroupSpec, frozen=True, kw_only=True):
    """A protection group as the log has it."""

    id: Id
    version: Count
    created_at: Instant
    updated_at: Instant
    created_by: Text


class Schedule(ScheduleSpec, frozen=True, kw_only=True):
    """A schedule as the log has it. Only occurrences after `armed_at` count: when its times last changed."""

    id: Id
    version: Count
    created_at: Instant
    updated_at: Instant
    created_by: Text
    armed_at: Instant


class Repository(RepositorySpec, frozen=True, kw_only=True):
    """A repository as the log has it."""

    id: Id
    version: Count
    created_at: Instant
    updated_at: Instant
    created_by: Text


class Policy(PolicySpec, frozen=True, kw_only=True):
    """A policy as the log has it."""

    id: Id
    version: Count
    created_at: Instant
    updated_at: Instant
    created_by: Text


class Flow(FlowSpec, frozen=True, kw_only=True):
    """A flow as the log has it. Only occurrences after `armed_at` count: when it last began to be scheduled."""

    id: Id
    version: Count
    created_at: Instant
    updated_at: Instant
    created_by: Text
    armed_at: Instant


class Freeze(Value, frozen=True, kw_only=True):
    """No scheduled start anywhere, from `since` until `until`; what runs goes on."""

    since: Instant
    until: Instant
    reason: Prose
    created_by: Text


class Settings(Value, frozen=True, kw_only=True):
    """What holds for the whole engine. As they are here at version 0, before anybody has set anything.

    `max_concurrent_jobs`: backups in flight over all flows; None: no limit. `keep_days`: how long history is kept in
    the tables; None: for ever. `disk_roots`, `repository_roots`: the folders under which disks may be read and
    repositories be; None: anywhere but in the system's and the engine's own. `block_devices`: whether disks may be
    block devices.
    """

    max_concurrent_jobs: Positive | None = None
    keep_days: Days | None = None
    disk_roots: Roots | None = None
    repository_roots: Roots | None = None
    block_devices: bool = False
    version: Count = 0
    updated_at: Instant | None = None
    updated_by: Text | None = None


class SettingsPatch(Value, frozen=True, kw_only=True):
    """What changes in the settings."""

    max_concurrent_jobs: Positive | UnsetType | None = UNSET
    keep_days: Days | UnsetType | None = UNSET
    disk_roots: Roots | UnsetType | None = UNSET
    repository_roots: Roots | UnsetType | None = UNSET
    block_devices: bool | UnsetType = UNSET


class TokenSpec(Value, frozen=True, kw_only=True):
    """A token of the API: who holds its secret is `name`, in the audit log too, and may do what the role may.

    `groups`: the ids of the protection groups that its holder is limited to; None: no limit. `digest`: the SHA-256 of
    the secret, which is nowhere itself.
    """

    name: Name
    role: Role
    groups: Annotated[list[Id], Meta(max_length=1000)] | None = None
    expires_at: Instant | None = None
    digest: Digest


class Token(TokenSpec, frozen=True, kw_only=True):
    """A token as the log has it. It never changes, but for being revoked, once and for all."""

    id: Id
    version: Count
    created_at: Instant
    created_by: Text
    revoked_at: Instant | None = None
    revoked_by: Text | None = None


Definition = Vm | Group | Schedule | Repository | Policy | Flow | Notification
Spec = VmSpec | GroupSpec | ScheduleSpec | RepositorySpec | PolicySpec | FlowSpec | NotificationSpec
Patch = VmPatch | GroupPatch | SchedulePatch | RepositoryPatch | PolicyPatch | FlowPatch | NotificationPatch

# the fields of a schedule that decide when it fires: a change starts its calendar again
CALENDAR_FIELDS = (
    *("cron_expression", "more_expressions", "timezone", "dst_gap", "dst_fold", "exclusions", "inclusions"),
    *("start_date", "end_date", "jitter_seconds"),
)

DEFINITIONS: dict[Kind, type[Definition]] = {
    "vm": Vm,
    "group": Group,
    "schedule": Schedule,
    "repository": Repository,
    "policy": Policy,
    "flow": Flow,
    "notification": Notification,
}


def name_of(definition: Definition | Spec) -> str:
    """Return what people call it."""
    return definition.vm_name if isinstance(definition, VmSpec) else definition.name
