"""What the executor knows, folded from the log: the catalogue, what is wished for, and what is on its way. Pure."""

from __future__ import annotations

from datetime import datetime

from bus.envelope import Stored
from schemas.base import Value
from schemas.commands import BackupVm, CancelExecution, ExecuteFlow, RetryExecution
from schemas.events import (
    BackupCancelled,
    BackupCompleted,
    BackupFailed,
    BackupRequested,
    BackupSkipped,
    BackupStatus,
    Defined,
    ExecutionType,
    FlowCancelling,
    FlowCompleted,
    FlowDue,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    PlannedBackup,
    Rejected,
)
from schemas.ids import AD_HOC, manual_execution_id, scheduled_execution_id
from services.catalogue import Catalogue
from services.executor.admission import InFlight, Queue


class Trigger(Value, frozen=True, kw_only=True):
    """A wish for an execution that the log has no answer to yet.

    `retry_of` and `only`: over these VMs of an earlier execution. `ad_hoc`: of one VM, outside any flow.
    """

    execution_id: str
    flow_id: str
    execution_type: ExecutionType
    occurrence: datetime | None
    triggered_by: str
    cause: str  # id of the message
    retry_of: str | None = None
    only: frozenset[str] | None = None
    ad_hoc: BackupVm | None = None


class Cancel(Value, frozen=True, kw_only=True):
    """A wish to stop an execution that the log has no answer to yet."""

    execution_id: str
    context_id: str | None
    actor: str
    cause: str


class Ended(Value, frozen=True, kw_only=True):
    """How one backup ended. The first end on the log counts, whatever a straggler says later."""

    status: BackupStatus
    bytes_transferred: int
    error: str | None


class Execution:
    """An execution that has not completed: its terms, its plan, and how far it is."""

    def __init__(self, started: FlowStarted, time: datetime) -> None:
        self.started = started
        self.started_at = time
        self.time = time  # of the last event that moved it on
        self.cause = f"started:{started.execution_id}"  # id of that event
        self.parts = 0
        self.cancelled: str | None = None  # why the whole of it is to stop
        self.cancelled_vms: dict[str, str] = {}  # by context id: why this one is to stop
        self.waiting: dict[str, PlannedBackup] = {}
        self.in_flight: dict[str, PlannedBackup] = {}
        self.ended: dict[str, Ended] = {}

    @property
    def finished(self) -> bool:
        return self.parts == self.started.parts and not self.waiting and not self.in_flight

    def stop_reason(self, backup: PlannedBackup) -> str | None:
        """Return why a backup is not to be started any more, None when it is."""
        return self.cancelled or self.cancelled_vms.get(backup.context_id)

    def queue(self) -> Queue:
        return Queue(
            execution_id=self.started.execution_id,
            flow_id=self.started.flow_id,
            repository_id=self.started.repository_id,
            priority=self.started.priority,
            limit=self.started.max_concurrent_jobs,
            waiting=[one for one in self.waiting.values() if one.context_id not in self.cancelled_vms]
            if self.cancelled_vms
            else self.waiting.values(),
        )


class State:
    """What the executor knows. `evolve` changes it in place."""

    def __init__(self) -> None:
        self.time: datetime | None = None  # of the last message: the only "now" there is
        self.catalogue = Catalogue()
        self.triggers: dict[str, Trigger] = {}
        self.cancels: dict[str, Cancel] = {}  # by command
        self.executions: dict[str, Execution] = {}
        self.in_flight = InFlight()
        self.accounted: dict[str, datetime] = {}  # by flow: the last occurrence with an answer

    def running(self, flow_id: str) -> bool:
        return any(execution.started.flow_id == flow_id for execution in self.executions.values())


def evolve(state: State, entry: Stored) -> State:
    """Take in one message of the log."""
    sent = entry.envelope
    state.time = sent.time
    match sent.data:
        case FlowDue() as due:
            known = state.accounted.get(due.flow_id)
            if known is None or due.occurrence > known:
                _trigger(state, entry, due.flow_id, "scheduled", due.occurrence)
        case ExecuteFlow() as command:
            _trigger(state, entry, command.id, "manual", None)
        case RetryExecution() as retry:
            only = frozenset(retry.context_ids)
            _trigger(state, entry, retry.flow_id, "manual", None, retry_of=retry.id, only=only)
        case BackupVm() as ad_hoc:
            _trigger(state, entry, AD_HOC, "manual", None, ad_hoc=ad_hoc)
        case CancelExecution() as cancel:
            state.cancels[sent.id] = Cancel(
                execution_id=cancel.id, context_id=cancel.context_id, actor=sent.actor or "unknown", cause=sent.id
            )
        case Rejected():
            state.cancels.pop(sent.causationid or "", None)
        case FlowCancelling() as cancelling:
            state.cancels.pop(sent.causationid or "", None)
            if execution := state.executions.get(cancelling.execution_id):
                _cancel(execution, cancelling, entry)
        case FlowSkipped() as skipped:
            _answered(state, skipped)
        case FlowStarted() as started:
            _answered(state, started)
            state.executions[started.execution_id] = Execution(started, sent.time)
        case FlowPlanned() as planned:
            if execution := state.executions.get(planned.execution_id):
                execution.parts += 1
                execution.waiting.update({backup.backup_id: backup for backup in planned.backups})
        case BackupRequested() as requested:
            execution = state.executions.get(requested.execution_id)
            backup = execution.waiting.pop(requested.backup_id, None) if execution else None
            if execution and backup:
                execution.in_flight[backup.backup_id] = backup
                state.in_flight.add(requested.flow_id, requested.repository_id, backup)
        case BackupCompleted() as done:
            _end(state, entry, done, Ended(status="success", bytes_transferred=done.bytes_transferred, error=None))
        case BackupFailed() as failed:
            _end(state, entry, failed, Ended(status="error", bytes_transferred=0, error=failed.error))
        case BackupCancelled() as cancelled:
            _end(state, entry, cancelled, Ended(status="cancelled", bytes_transferred=0, error=cancelled.reason))
        case BackupSkipped() as left:
            _end(state, entry, left, Ended(status="skipped", bytes_transferred=0, error=left.reason))
        case FlowCompleted() as completed:
            state.executions.pop(completed.execution_id, None)
        case event if isinstance(event, Defined):
            state.catalogue.evolve(event)
        case _:
            pass
    return state


def _cancel(execution: Execution, event: FlowCancelling, entry: Stored) -> None:
    if event.context_id is None:
        execution.cancelled = event.reason
    else:
        execution.cancelled_vms[event.context_id] = event.reason
    execution.time = entry.envelope.time
    execution.cause = entry.envelope.id


def _trigger(
    state: State,
    entry: Stored,
    flow_id: str,
    execution_type: ExecutionType,
    occurrence: datetime | None,
    *,
    retry_of: str | None = None,
    only: frozenset[str] | None = None,
    ad_hoc: BackupVm | None = None,
) -> None:
    sent = entry.envelope
    scheduled = occurrence is not None
    execution_id = scheduled_execution_id(flow_id, occurrence) if scheduled else manual_execution_id(sent.id)
    if execution_id in state.executions:
        return
    state.triggers.setdefault(
        execution_id,
        Trigger(
            execution_id=execution_id,
            flow_id=flow_id,
            execution_type=execution_type,
            occurrence=occurrence,
            triggered_by=sent.actor or ("scheduler" if scheduled else "unknown"),
            cause=sent.id,
            retry_of=retry_of,
            only=only,
            ad_hoc=ad_hoc,
        ),
    )


def _answered(state: State, answer: FlowStarted | FlowSkipped) -> None:
    state.triggers.pop(answer.execution_id, None)
    if answer.occurrence is not None:
        known = state.accounted.get(answer.flow_id)
        state.accounted[answer.flow_id] = answer.occurrence if known is None else max(known, answer.occurrence)


def _end(
    state: State,
    entry: Stored,
    event: BackupCompleted | BackupFailed | BackupCancelled | BackupSkipped,
    ended: Ended,
) -> None:
    execution = state.executions.get(event.execution_id)
    if execution is None or event.backup_id in execution.ended:
        return
    execution.waiting.pop(event.backup_id, None)
    backup = execution.in_flight.pop(event.backup_id, None)
    if backup is not None:
        state.in_flight.remove(execution.started.flow_id, execution.started.repository_id, backup)
    execution.ended[event.backup_id] = ended
    execution.time = entry.envelope.time
    execution.cause = entry.envelope.id
