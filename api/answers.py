"""What the API answers: the shapes of CONTRACT.md."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from schemas.base import Value
from schemas.definitions import Disk, Member, Policy, Repository, Schedule
from schemas.events import BackupStatus, ExcludedVm, ExecutionStatus, ExecutionType


class FlowStatus(Value, frozen=True, kw_only=True):
    """How a flow is doing.

    `next_execution_time` is what will really fire; null when nothing will, and then `next_execution_reason` says why.
    """

    last_execution_id: str | None
    last_execution_status: ExecutionStatus
    last_execution_time: datetime | None
    next_execution_time: datetime | None
    next_execution_reason: str | None
    total_executions: int
    successful_executions: int
    failed_executions: int


class FlowAnswer(Value, frozen=True, kw_only=True):
    """A flow, with the names of what it refers to."""

    id: str
    name: str
    description: str
    flow_type: str
    target_type: str
    target_id: str
    target_name: str | None
    repository_id: str | None
    repository_name: str | None
    policy_id: str | None
    policy_name: str | None
    schedule_id: str | None
    schedule_name: str | None
    schedule_cron: str | None
    destination_type: str | None
    destination_config: dict[str, Any] | None
    enabled: bool
    overlap_policy: str
    priority: int
    max_concurrent_jobs: int | None
    labels: dict[str, str]
    created_at: datetime
    updated_at: datetime
    created_by: str
    version: int
    status: FlowStatus


class FlowList(Value, frozen=True, kw_only=True):
    flows: list[FlowAnswer]
    total: int


class ExecutionAnswer(Value, frozen=True, kw_only=True):
    """One run of a flow. While it runs its jobs are counted when asked; at its end the log's count stands."""

    id: str
    flow_id: str | None
    flow_name: str
    status: ExecutionStatus
    execution_type: ExecutionType
    triggered_by: str
    occurrence: datetime | None
    created_at: datetime
    started_at: datetime
    completed_at: datetime | None
    execution_time_seconds: float | None
    jobs_created: int
    jobs_completed: int
    jobs_failed: int
    jobs_skipped: int
    vms_processed: int
    bytes_transferred: int
    error_message: str | None
    created_job_ids: list[str]
    excluded: list[ExcludedVm]
    retry_of: str | None
    backfill_id: str | None


class ExecutionList(Value, frozen=True, kw_only=True):
    executions: list[ExecutionAnswer]
    total: int


class StartedExecution(ExecutionAnswer, frozen=True, kw_only=True):
    """The answer to 'run now'."""

    execution_id: str
    message: str


class FlowNow(Value, frozen=True, kw_only=True):
    """A flow now, and next: the coming ten occurrences, none when it is disabled or unscheduled."""

    flow: FlowAnswer
    last_execution: ExecutionAnswer | None
    running_executions: list[ExecutionAnswer]
    next_run: datetime | None
    next_runs: list[datetime]


class JobAnswer(Value, frozen=True, kw_only=True):
    """One VM's backup in one execution."""

    id: str
    execution_id: str
    context_id: str
    vm_name: str
    status: BackupStatus
    attempt: int
    worker: str | None
    bytes_read: int
    bytes_transferred: int
    progress_percent: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    error_message: str | None
    first_error: str | None
    repository_id: str | None
    snapshot_ref: str | None


class JobList(Value, frozen=True, kw_only=True):
    jobs: list[JobAnswer]
    total: int


class VmAnswer(Value, frozen=True, kw_only=True):
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
    vm_contexts: list[VmAnswer]
    total: int


class VmContext(Value, frozen=True, kw_only=True):
    context: VmAnswer


class DiskList(Value, frozen=True, kw_only=True):
    disks: list[Disk]


class GroupAnswer(Value, frozen=True, kw_only=True):
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
    groups: list[GroupAnswer]
    total: int


class MemberAnswer(Member, frozen=True, kw_only=True):
    """A member of a group, with its VM's name."""

    vm_name: str
    vm_enabled: bool


class MemberList(Value, frozen=True, kw_only=True):
    vms: list[MemberAnswer]
    total: int


class ScheduleList(Value, frozen=True, kw_only=True):
    schedules: list[Schedule]
    total: int


class RepositoryList(Value, frozen=True, kw_only=True):
    repositories: list[Repository]
    total: int


class PolicyList(Value, frozen=True, kw_only=True):
    policies: list[Policy]
    total: int


class CommandAnswer(Value, frozen=True, kw_only=True):
    """A command and what became of it. `outcome`: `pending`, `accepted` or `rejected`."""

    id: str
    entity: str
    verb: str
    entity_id: str
    actor: str
    time: datetime
    outcome: str
    code: str | None
    reason: str | None
    field: str | None


class BackupAnswer(JobAnswer, frozen=True, kw_only=True):
    """A backup, with the flow that it belongs to; none when it was made outside any flow."""

    flow_id: str | None
    flow_name: str


class BackupList(Value, frozen=True, kw_only=True):
    backups: list[BackupAnswer]
    total: int


class BackupStats(Value, frozen=True, kw_only=True):
    """Successful backups: how many, their size in the repository in bytes, and when the last one ended."""

    backup_count: int
    total_size_bytes: int
    last_backup_at: datetime | None


class WaitingBackup(Value, frozen=True, kw_only=True):
    backup_id: str
    execution_id: str
    flow_id: str | None
    context_id: str
    priority: int
    since: datetime
    waiting_for: str


class RunningBackup(Value, frozen=True, kw_only=True):
    backup_id: str
    execution_id: str
    flow_id: str | None
    context_id: str
    priority: int
    since: datetime
    status: BackupStatus
    attempt: int
    progress_percent: int


class Queue(Value, frozen=True, kw_only=True):
    """What waits, at most a thousand, in the order in which it is admitted; what runs; and the limits."""

    waiting: list[WaitingBackup]
    running: list[RunningBackup]
    limits: dict[str, Any]


class Summary(Value, frozen=True, kw_only=True):
    """Totals; "today" counts executions that started since midnight in the time zone asked for."""

    total_flows: int
    enabled_flows: int
    disabled_flows: int
    backup_flows: int
    replication_flows: int
    total_executions_today: int
    successful_executions_today: int
    failed_executions_today: int


class BulkAnswer(Value, frozen=True, kw_only=True):
    """Each flow answered for itself: how many succeeded and failed, and why those failed."""

    successful: int
    failed: int
    errors: dict[str, str]


class DryRun(Value, frozen=True, kw_only=True):
    """What running a flow now would do. Nothing was appended."""

    valid: bool
    errors: list[str]
    warnings: list[str]
    resolved_vms: list[str]
    excluded: list[ExcludedVm]
    next_runs: list[datetime]


class NextRun(Value, frozen=True, kw_only=True):
    """An instant in UTC and in the schedule's zone.

    `note`: `shifted` or `repeated` by a change of the clocks; `excluded: <name>`: it matches, and does not fire.
    """

    at: datetime
    local: str
    note: str | None


class Preview(Value, frozen=True, kw_only=True):
    next_runs: list[NextRun]


class Outcome(Value, frozen=True, kw_only=True):
    """An occurrence, the nominal instant, and what became of it.

    `outcome`: `executed` (then `status` is the execution's), `skipped` or `missed` with the reason, `due` (said, not
    answered yet), or `expected`, at `fires_at`. A range that was missed is one entry, from `occurrence` to `last`.
    """

    occurrence: datetime
    outcome: Literal["executed", "skipped", "missed", "due", "expected"]
    fires_at: datetime | None = None
    execution_id: str | None = None
    status: ExecutionStatus | None = None
    started_at: datetime | None = None
    reason: str | None = None
    last: datetime | None = None
    count: int = 1


class OutcomeList(Value, frozen=True, kw_only=True):
    occurrences: list[Outcome]


class FreezeAnswer(Value, frozen=True, kw_only=True):
    """No scheduled start from `since` until `until`."""

    since: datetime
    until: datetime
    reason: str
    created_by: str


class CalendarEntry(Value, frozen=True, kw_only=True):
    """A run to come. `expected_seconds`: how long those before it took on average; null when there were none."""

    flow_id: str
    flow_name: str
    schedule_id: str
    occurrence: datetime
    fires_at: datetime
    expected_seconds: float | None


class CalendarAnswer(Value, frozen=True, kw_only=True):
    """What will run, in order. `complete`: the range holds no more than is shown."""

    entries: list[CalendarEntry]
    complete: bool
    freeze: FreezeAnswer | None


class BackfillAnswer(Value, frozen=True, kw_only=True):
    """A backfill, or with `dry_run` what it would be: the occurrences that are executed, in order."""

    backfill_id: str | None
    flow_id: str
    occurrences: list[datetime]
    message: str


class Explanation(Value, frozen=True, kw_only=True):
    """Why a flow ran at an instant, or did not: plain sentences, in order."""

    flow_id: str
    at: datetime
    lines: list[str]


class Bucket(Value, frozen=True, kw_only=True):
    """Executions that began in a day (UTC), or in all: how many ended how, how long they took, what they moved."""

    day: str
    executions: int
    successful: int
    failed: int
    cancelled: int
    success_rate: float | None
    average_seconds: float | None
    bytes_transferred: int


class Statistics(Value, frozen=True, kw_only=True):
    """`total` is over the whole range; totals count each execution once, when it completed."""

    days: list[Bucket]
    total: Bucket


class Storage(Value, frozen=True, kw_only=True):
    """A repository's space in bytes; total and free are null where this machine cannot see it."""

    total_bytes: int | None
    free_bytes: int | None
    used_by_backups_bytes: int
    backup_count: int


class LoggedEvent(Value, frozen=True, kw_only=True):
    """A message of the log: where it stands, and the CloudEvent as it is."""

    sequence: int
    subject: str
    event: Any


class EventList(Value, frozen=True, kw_only=True):
    events: list[LoggedEvent]
    total: int


class AuditEntry(CommandAnswer, frozen=True, kw_only=True):
    """A command with what it asked for, and the definition before and after when it was accepted."""

    sequence: int
    request: dict[str, Any] | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditList(Value, frozen=True, kw_only=True):
    commands: list[AuditEntry]
    total: int
