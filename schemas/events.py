"""Events: what was decided and what was done, in the past tense. The tag is the event's type: `<family>.<event>`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol, Self

from msgspec import Meta

from schemas.base import MOST, Count, Id, Instant, Message, Positive, Priority, Size, Text, Value, Word
from schemas.definitions import (
    BackupType,
    Disks,
    EngineName,
    Entity,
    Flow,
    Freeze,
    Group,
    OverlapPolicy,
    Policy,
    Repository,
    RetryAttempts,
    RetryDelay,
    Roots,
    Schedule,
    Setting,
    Settings,
    Token,
    Vm,
)
from schemas.labels import Requirement
from schemas.notifications import Notification, Notified, Severity
from schemas.workers import Worker

ExecutionStatus = Literal["pending", "running", "success", "warning", "error", "cancelled"]
ExecutionType = Literal["scheduled", "manual", "api"]
BackupStatus = Literal["pending", "queued", "running", "success", "error", "cancelled", "skipped"]
RejectionCode = Literal["not_found", "conflict", "in_use", "version", "invalid"]
SkipReason = Literal[
    "overlap",
    "definition_changed",
    "start_deadline",
    "frozen",
    "cancelled",
    "backfill_cancelled",
    "flow_deleted",
    "target_deleted",
    "repository_deleted",
    "flow_disabled",
    "target_disabled",
    "repository_disabled",
    "policy_disabled",
    "unsupported",
]
StopOrigin = Literal["asked", "overlap", "timeout", "deleted"]
Deadline = Literal["start", "finish", "stop"]
DeadReason = Literal["malformed", "repeated", "unusable"]
Percent = Annotated[int, Meta(ge=0, le=100)]


class Event(Message, frozen=True, kw_only=True):
    """Something that happened."""


# --- catalog.<entity>.<id>: the whole definition, or None when it was deleted ---------------------------------------


class CatalogEvent(Event, frozen=True, kw_only=True):
    """A definition as it is from here on; a tombstone when `definition` is None."""

    id: Id
    version: Count


class VmDefined(CatalogEvent, frozen=True, kw_only=True, tag="catalog.vm"):
    definition: Vm | None


class GroupDefined(CatalogEvent, frozen=True, kw_only=True, tag="catalog.group"):
    definition: Group | None


class ScheduleDefined(CatalogEvent, frozen=True, kw_only=True, tag="catalog.schedule"):
    definition: Schedule | None


class RepositoryDefined(CatalogEvent, frozen=True, kw_only=True, tag="catalog.repository"):
    definition: Repository | None


class PolicyDefined(CatalogEvent, frozen=True, kw_only=True, tag="catalog.policy"):
    definition: Policy | None


class FlowDefined(CatalogEvent, frozen=True, kw_only=True, tag="catalog.flow"):
    definition: Flow | None


class NotificationDefined(CatalogEvent, frozen=True, kw_only=True, tag="catalog.notification"):
    definition: Notification | None


class FreezeDefined(CatalogEvent, frozen=True, kw_only=True, tag="catalog.freeze"):
    """There is one freeze at most, of the whole engine; None: it was lifted before its end."""

    definition: Freeze | None


class SettingsDefined(CatalogEvent, frozen=True, kw_only=True, tag="catalog.settings"):
    """There is one set of settings, of the whole engine."""

    definition: Settings


class TokenDefined(CatalogEvent, frozen=True, kw_only=True, tag="catalog.token"):
    """A token was created, or revoked. It stays known: whose name stands in the audit log is not forgotten."""

    definition: Token | None


class WorkerDefined(CatalogEvent, frozen=True, kw_only=True, tag="catalog.worker"):
    """A worker may enrol itself, has done so, or was revoked. It stays known: its name is never used again."""

    definition: Worker | None


OfKind = (
    VmDefined | GroupDefined | ScheduleDefined | RepositoryDefined | PolicyDefined | FlowDefined | NotificationDefined
)
OfEngine = FreezeDefined | SettingsDefined  # of which there is one
OfIdentity = TokenDefined | WorkerDefined  # who may do something, and is never forgotten
Defined = OfKind | OfEngine | OfIdentity


class WrongField(Value, frozen=True, kw_only=True):
    """A field that is wrong, and why."""

    field: Text
    reason: Text


class Rejected(Event, frozen=True, kw_only=True, tag="rejected"):
    """A command was rejected: why, and the field that is wrong where there is one.

    `fields`: all that are wrong, when there are several; then `field` is the first of them, and `reason` names each.
    """

    entity: Entity
    verb: Word
    id: Id
    code: RejectionCode
    reason: Text
    field: Text | None = None
    fields: Annotated[list[WrongField], Meta(max_length=MOST)] = []


# --- flow.<event>.<flow>: time (scheduler) and executions (executor) -------------------------------------------------


class FlowEvent(Event, frozen=True, kw_only=True):
    """Something about one flow."""

    flow_id: Id


class FlowDue(FlowEvent, frozen=True, kw_only=True, tag="flow.due"):
    """The flow's schedule matched `occurrence`, the nominal instant in UTC."""

    occurrence: Instant
    schedule_id: Id


class FlowMissed(FlowEvent, frozen=True, kw_only=True, tag="flow.missed"):
    """`count` occurrences, `first` to `last`, passed while no scheduler ran, and will not be executed."""

    schedule_id: Id
    first: Instant
    last: Instant
    count: Count


class FlowBackfilling(FlowEvent, frozen=True, kw_only=True, tag="flow.backfilling"):
    """Past occurrences are to be executed now, each as an execution of its own, `max_concurrent` at a time."""

    backfill_id: Id
    occurrences: Annotated[list[Instant], Meta(max_length=MOST)]
    max_concurrent: Positive


class FlowBackfillCancelled(FlowEvent, frozen=True, kw_only=True, tag="flow.backfill_cancelled"):
    """What of a backfill waits is skipped, what runs is stopped."""

    backfill_id: Id
    reason: Text


class ExecutionEvent(FlowEvent, frozen=True, kw_only=True):
    """Something about one execution."""

    execution_id: Id


class FlowStarted(ExecutionEvent, frozen=True, kw_only=True, tag="flow.started"):
    """An execution began, on these terms; `jobs` VMs are planned. Later changes of definitions do not touch it.

    After `start_by` no backup of it is begun any more; at `finish_by` it is stopped.
    """

    flow_name: Text
    flow_version: Count
    execution_type: ExecutionType
    triggered_by: Text
    occurrence: Instant | None
    overlap_policy: OverlapPolicy
    repository_id: Id
    policy_id: Id | None
    priority: Priority
    max_concurrent_jobs: Positive | None
    jobs: Count
    parts: Positive
    retry_of: Id | None = None
    backfill_id: Id | None = None
    start_by: Instant | None = None
    finish_by: Instant | None = None


class PlannedBackup(Value, frozen=True, kw_only=True):
    """One VM of an execution."""

    backup_id: Id
    context_id: Id
    vm_name: Text


class ExcludedVm(Value, frozen=True, kw_only=True):
    """A VM that the target names and the execution leaves out."""

    context_id: Id
    reason: Text


class FlowPlanned(ExecutionEvent, frozen=True, kw_only=True, tag="flow.planned"):
    """Part `part` (from 1) of `parts` of the plan, in the order in which the VMs are to be backed up."""

    part: Positive
    parts: Positive
    backups: Annotated[list[PlannedBackup], Meta(max_length=MOST)]
    excluded: Annotated[list[ExcludedVm], Meta(max_length=MOST)]


class FlowBuffered(ExecutionEvent, frozen=True, kw_only=True, tag="flow.buffered"):
    """A trigger waits, by its flow's overlap policy, for what runs to end: `waiting_for` are those executions.

    `execution_id` is the one that it will have. It goes on to `flow.started`, or to `flow.skipped`.
    """

    flow_name: Text
    execution_type: ExecutionType
    triggered_by: Text
    occurrence: Instant | None
    overlap_policy: OverlapPolicy
    priority: Priority
    waiting_for: Annotated[list[Id], Meta(max_length=MOST)]
    retry_of: Id | None = None


class FlowSkipped(ExecutionEvent, frozen=True, kw_only=True, tag="flow.skipped"):
    """A trigger that became no execution, and why. `execution_id` is the one it would have had."""

    execution_type: ExecutionType
    occurrence: Instant | None
    reason: SkipReason
    message: Text


class FlowCancelling(ExecutionEvent, frozen=True, kw_only=True, tag="flow.cancelling"):
    """An execution is to stop, or one VM of it: workers end what runs, the executor skips what waits.

    `origin`: a command, a newer execution that takes its place, a deadline, or the deletion of its flow.
    """

    context_id: Id | None
    reason: Text
    origin: StopOrigin = "asked"


class FlowOverdue(ExecutionEvent, frozen=True, kw_only=True, tag="flow.overdue"):
    """A deadline has passed before the log had what it was for.

    `start`: the execution, or some of its backups, should have begun. `finish`: it should have ended. `stop`: it was
    to stop (or one VM of it: `context_id`), and a worker has not responded.
    """

    deadline: Deadline
    passed_at: Instant
    context_id: Id | None = None


class FlowCompleted(ExecutionEvent, frozen=True, kw_only=True, tag="flow.completed"):
    """An execution's end, with a recount of its plan; `bytes_transferred` is what was written to the repository."""

    status: ExecutionStatus
    started_at: Instant
    completed_at: Instant
    jobs_created: Count
    jobs_completed: Count
    jobs_failed: Count
    jobs_skipped: Count
    bytes_transferred: Size
    error_message: Text | None


# --- backup.<event>.<flow>: one VM in one execution ------------------------------------------------------------------


class OneBackup(Protocol):
    """Whatever is about one backup."""

    @property
    def flow_id(self) -> Id: ...
    @property
    def execution_id(self) -> Id: ...
    @property
    def backup_id(self) -> Id: ...
    @property
    def context_id(self) -> Id: ...


class BackupEvent(ExecutionEvent, frozen=True, kw_only=True):
    """Something about one backup."""

    backup_id: Id
    context_id: Id

    @classmethod
    def of(cls, backup: OneBackup, **fields: Any) -> Self:
        """Return an event about the same backup; `fields` are the event's own."""
        return cls(
            flow_id=backup.flow_id,
            execution_id=backup.execution_id,
            backup_id=backup.backup_id,
            context_id=backup.context_id,
            **fields,
        )


class BackupRequested(BackupEvent, frozen=True, kw_only=True, tag="backup.requested"):
    """All that a worker needs to know to back up one VM. Secrets are never in it: `config` holds references.

    `disk_roots`, `repository_roots` and `block_devices` are the engine's settings when it was requested.
    `worker_labels`: those that its worker must have; `pool`: the id of the workers that have them, None: any worker.
    """

    vm_name: Text
    disks: Disks
    repository_id: Id
    engine: EngineName
    location: Text
    config: Annotated[dict[Text, Setting], Meta(max_length=64)]
    backup_type: BackupType
    retry_attempts: RetryAttempts
    retry_delay_seconds: RetryDelay
    timeout_seconds: Positive | None
    requested_at: Instant
    round: Positive = 1  # how many times it has been requested, with this one
    disk_roots: Roots | None = None
    repository_roots: Roots | None = None
    block_devices: bool = False
    pool: Id | None = None
    worker_labels: Requirement = {}


class BackupAbandoned(BackupEvent, frozen=True, kw_only=True, tag="backup.abandoned"):
    """No worker holds the request at sequence `request`, and the queue has lost it: a new one is needed."""

    request: Size


class BackupSkipped(BackupEvent, frozen=True, kw_only=True, tag="backup.skipped"):
    """A planned VM that will not be backed up in this execution, and why."""

    reason: Text


class BackupOrphaned(BackupEvent, frozen=True, kw_only=True, tag="backup.orphaned"):
    """What attempts at a backup left in its repository counts for nothing and cannot be removed: `error` says why."""

    error: Text


class AttemptEvent(BackupEvent, frozen=True, kw_only=True):
    """Something in attempt `attempt` (from 1) at a backup."""

    attempt: Positive


class BackupStarted(AttemptEvent, frozen=True, kw_only=True, tag="backup.started"):
    worker: Text


class BackupProgressed(AttemptEvent, frozen=True, kw_only=True, tag="backup.progressed"):
    """At most one per second and per cent of an attempt, so that a backup leaves at most a hundred."""

    percent: Percent
    bytes_read: Size
    bytes_transferred: Size


class BackupRetrying(AttemptEvent, frozen=True, kw_only=True, tag="backup.retrying"):
    """The attempt failed; another follows after `delay_seconds`."""

    error: Text
    delay_seconds: Count


class BackupCompleted(AttemptEvent, frozen=True, kw_only=True, tag="backup.completed"):
    """`bytes_read` of source data became `bytes_transferred` in the repository, to be found at `snapshot_ref`."""

    bytes_read: Size
    bytes_transferred: Size
    snapshot_ref: Text


class BackupFailed(AttemptEvent, frozen=True, kw_only=True, tag="backup.failed"):
    error: Text


class BackupCancelled(AttemptEvent, frozen=True, kw_only=True, tag="backup.cancelled"):
    reason: Text


# --- notification.<event>.<notification>: messages to people ----------------------------------------------------------


class NotificationEvent(Event, frozen=True, kw_only=True):
    """Something about the messages of one notification."""

    notification_id: Id


class NotificationClaimed(NotificationEvent, frozen=True, kw_only=True, tag="notification.claimed"):
    """From here on `holder` delivers this notification's messages: claim `number` of it, from 1."""

    number: Positive
    holder: Text


class DeliveryEvent(NotificationEvent, frozen=True, kw_only=True):
    """Something about one message to one receiver."""

    delivery_id: Id


class NotificationDue(DeliveryEvent, frozen=True, kw_only=True, tag="notification.due"):
    """A message is to be delivered, as it stands here: it tells of `total` events, up to the one at `through`.

    `events`: the first of those. `digest`: the end of the time that was collected, None for a message on one event.
    """

    through: Size
    total: Count
    severity: Severity
    title: Text
    body: Text
    events: Annotated[list[Notified], Meta(max_length=100)]
    digest: Instant | None = None


class NotificationFailed(DeliveryEvent, frozen=True, kw_only=True, tag="notification.failed"):
    """A message could not be delivered at its first attempt; further attempts follow, and only their end is told."""

    attempt: Positive
    reason: Text
    next_try: Instant


class NotificationDelivered(DeliveryEvent, frozen=True, kw_only=True, tag="notification.delivered"):
    """The receiver has taken a message. `attempts`: made by the process that delivered it."""

    attempts: Positive
    reply: Text


class NotificationDropped(DeliveryEvent, frozen=True, kw_only=True, tag="notification.dropped"):
    """A message will not be delivered, and why."""

    reason: Text


# --- dead.<service>.<reason> ------------------------------------------------------------------------------------------


class DeadLettered(Event, frozen=True, kw_only=True, tag="dead"):
    """A message on the log that could not be used: where it is, and why not.

    `malformed`: it cannot be read. `repeated`: it repeats what is on the log already, and counts for nothing.
    `unusable`: it can be read, and still not be folded or projected.
    """

    service: Id
    reason: DeadReason
    sequence: Size
    subject: Text
    error: Text


class DeadSettled(Event, frozen=True, kw_only=True, tag="dead.settled"):
    """What an operator did about a message that could not be used."""

    sequence: Size
    how: Literal["retried", "dismissed"]


EVENTS: tuple[type[Event], ...] = (
    *(VmDefined, GroupDefined, ScheduleDefined, RepositoryDefined, PolicyDefined, FlowDefined, FreezeDefined),
    *(NotificationDefined, SettingsDefined, TokenDefined, WorkerDefined, Rejected),
    *(FlowBackfilling, FlowBackfillCancelled, DeadSettled),
    *(
        FlowDue,
        FlowMissed,
        FlowOverdue,
        FlowBuffered,
        FlowStarted,
        FlowPlanned,
        FlowSkipped,
        FlowCancelling,
        FlowCompleted,
    ),
    *(BackupRequested, BackupAbandoned, BackupSkipped, BackupOrphaned, BackupStarted, BackupProgressed, BackupRetrying),
    *(BackupCompleted, BackupFailed, BackupCancelled, DeadLettered),
    *(NotificationClaimed, NotificationDue, NotificationFailed, NotificationDelivered, NotificationDropped),
)
