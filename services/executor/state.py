"""The executor's state, folded from the log: definitions, what is pending, and running executions. Pure."""

from __future__ import annotations

from datetime import datetime

from msgspec import structs

from bus.envelope import Stored
from bus.subjects import CATALOG
from schemas.base import Value
from schemas.commands import (
    BackupVm,
    CancelBackfill,
    CancelExecution,
    Command,
    CreateBackfill,
    ExecuteFlow,
    RetryExecution,
)
from schemas.events import (
    BackupAbandoned,
    BackupCancelled,
    BackupCompleted,
    BackupEvent,
    BackupFailed,
    BackupRequested,
    BackupRetrying,
    BackupSkipped,
    BackupStarted,
    Defined,
    ExecutionType,
    FlowBackfillCancelled,
    FlowBackfilling,
    FlowBuffered,
    FlowCancelling,
    FlowCompleted,
    FlowDefined,
    FlowDue,
    FlowEvent,
    FlowOverdue,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    Rejected,
    RepositoryDefined,
    ScheduleDefined,
    VmDefined,
)
from schemas.ids import AD_HOC, backfill_execution_id, manual_execution_id, scheduled_execution_id
from services.catalogue import Catalogue
from services.executor.admission import Slots
from services.executor.execution import BackupEnd, EndEvent, Execution
from services.executor.pending import PendingBackfill, PendingCancel, Trigger, group_of
from services.executor.placement import MisplacedRequest, is_misplaced, touched
from services.processed import ProcessedIds
from services.scheduler.versions import Versions, position
from services.unusable import SetAside


class AbandonedRequest(Value, frozen=True, kw_only=True):
    """That no worker holds the newest request of a backup, and none will be given it. `cause`: the message's id."""

    execution_id: str
    cause: str


# all that the executor folds
READS = (
    CATALOG,
    *("command.flow.execute", "command.execution.*", "command.backup.create", "command.backfill.*"),
    *("rejected.execution.*", "rejected.backfill.*", "flow.*.*"),
    *(
        f"backup.{event}.>"
        for event in ("requested", "abandoned", "skipped", "started", "retrying", "completed", "failed", "cancelled")
    ),
)


class State:
    """What the executor knows. `evolve` changes it in place."""

    def __init__(self) -> None:
        self.time: datetime | None = None  # of the last message: the only "now" there is
        self.catalogue = Catalogue()
        self.triggers: dict[str, Trigger] = {}  # by execution
        self.pending_cancels: dict[str, PendingCancel] = {}  # by command
        self.pending_backfills: dict[str, PendingBackfill] = {}  # by command
        self.executions: dict[str, Execution] = {}
        self.running: dict[str, set[str]] = {}  # by flow, or by backfill: its executions
        self.in_flight = Slots()
        self.abandoned: dict[str, AbandonedRequest] = {}  # by backup
        self.misplaced: dict[str, MisplacedRequest] = {}  # by backup
        self.accounted: dict[str, datetime] = {}  # by flow: the last occurrence with an outcome
        self.processed = ProcessedIds()  # commands, and executions that no schedule started
        self.versions = Versions()
        self.set_aside = SetAside()

    @property
    def oldest(self) -> int | None:
        """The sequence of the oldest thing that is not over: a fold that begins there misses nothing."""
        open_ones = (
            *(*self.triggers.values(), *self.pending_cancels.values()),
            *(*self.pending_backfills.values(), *self.executions.values()),
        )
        return min((one.sequence for one in open_ones), default=None)


def evolve(state: State, entry: Stored) -> State:
    """Take in one message of the log. What is repeated, or is about something unknown, changes nothing."""
    sent = entry.envelope
    state.time = sent.time
    match sent.data:
        case BackupEvent() as event:  # first: most of a log is about backups
            if execution := state.executions.get(event.execution_id):
                _backup(state, execution, entry, event)
        case FlowEvent() as event:
            _flow(state, entry, event)
        case Command() as command:
            if sent.id not in state.processed:
                _command(state, entry, command)
        case Rejected():
            _decided(state, entry)
        case event if isinstance(event, Defined):
            _define(state, entry, event)
        case _:
            pass
    return state


# --- commands and definitions -----------------------------------------------------------------------------------------


def _command(state: State, entry: Stored, command: Command) -> None:
    sent = entry.envelope
    actor = sent.actor or "unknown"
    match command:
        case ExecuteFlow():
            _trigger(state, entry, command.id, "manual", None)
        case RetryExecution():
            only = frozenset(command.context_ids)
            _trigger(state, entry, command.flow_id, "manual", None, retry_of=command.id, only=only)
        case BackupVm():
            _trigger(state, entry, AD_HOC, "manual", None, ad_hoc=command)
        case CancelExecution():
            execution = state.executions.get(command.id)
            cancel = PendingCancel(
                sequence=entry.sequence,
                execution_id=command.id,
                context_id=command.context_id,
                actor=actor,
                cause=sent.id,
                open=execution is not None and command.context_id in execution.open_vms,
            )
            state.pending_cancels.setdefault(sent.id, cancel)
        case CreateBackfill() | CancelBackfill():
            backfill = PendingBackfill(
                sequence=entry.sequence,
                command=command,
                actor=actor,
                cause=sent.id,
                flow_known=command.flow_id in state.catalogue.flows,
            )
            state.pending_backfills.setdefault(sent.id, backfill)
        case _:
            pass


def _decided(state: State, entry: Stored) -> bool:
    """Take in that a command has an outcome; return whether this is the first one."""
    command_id = entry.envelope.causationid or ""
    state.pending_cancels.pop(command_id, None)
    state.pending_backfills.pop(command_id, None)
    if command_id in state.processed:
        return False
    state.processed.add(command_id, entry.sequence)
    return True


def _define(state: State, entry: Stored, event: Defined) -> None:
    time = entry.envelope.time
    flow, schedule = state.catalogue.flows.get(event.id), state.catalogue.schedules.get(event.id)
    state.catalogue.evolve(event)
    match event:
        case FlowDefined():
            state.versions.evolve_flow(event, flow, entry.sequence, time)
        case ScheduleDefined():
            state.versions.evolve_schedule(event, schedule, entry.sequence, time)
        case VmDefined() | RepositoryDefined():
            for execution in state.executions.values():
                for backup_id in touched(execution, event):
                    _place(state, execution, backup_id, entry.envelope.id)
        case _:
            pass


def _place(state: State, execution: Execution, backup_id: str, cause: str) -> None:
    """Take in whether a request waits for the wrong workers. `cause`: id of the message since which it may."""
    state.misplaced.pop(backup_id, None)
    if is_misplaced(state.catalogue, execution, backup_id):
        misplaced = MisplacedRequest(execution_id=execution.started.execution_id, cause=cause)
        state.misplaced[backup_id] = misplaced


# --- flows: triggers and executions -----------------------------------------------------------------------------------


def _flow(state: State, entry: Stored, event: FlowEvent) -> None:
    match event:
        case FlowDue():
            _due(state, entry, event)
        case FlowBackfilling():
            if _decided(state, entry):
                _begin_backfill(state, entry, event)
        case FlowBackfillCancelled():
            _decided(state, entry)
            _cancel_backfill(state, event)
        case FlowCancelling():
            if event.origin == "asked":
                _decided(state, entry)
            if execution := state.executions.get(event.execution_id):
                execution.cancel(event, entry.envelope)
            elif trigger := state.triggers.get(event.execution_id):
                state.triggers[event.execution_id] = structs.replace(trigger, cancelled=event.reason)
        case FlowOverdue():
            _overdue(state, event)
        case FlowBuffered():
            if trigger := state.triggers.get(event.execution_id):
                state.triggers[event.execution_id] = structs.replace(trigger, buffered=True)
        case FlowSkipped():
            _account(state, entry, event)
        case FlowStarted():
            if _is_new(state, event):
                _account(state, entry, event)
                state.executions[event.execution_id] = Execution(event, entry.envelope.time, entry.sequence)
                state.running.setdefault(group_of(event), set()).add(event.execution_id)
        case FlowPlanned():
            if execution := state.executions.get(event.execution_id):
                execution.plan(event)
        case FlowCompleted():
            if over := state.executions.pop(event.execution_id, None):
                state.running[group_of(over.started)].discard(event.execution_id)
                for backup_id, backup in over.in_flight.items():  # none, unless somebody else says that it is over
                    state.in_flight.remove(over.started.flow_id, over.started.repository_id, backup)
                    state.abandoned.pop(backup_id, None)
                    state.misplaced.pop(backup_id, None)
        case _:
            pass


def _due(state: State, entry: Stored, due: FlowDue) -> None:
    known = state.accounted.get(due.flow_id)
    if known is not None and due.occurrence <= known:
        return
    decidedon = entry.envelope.decidedon
    outdated = decidedon is not None and state.versions.outdated(
        state.catalogue.flows.get(due.flow_id),
        state.catalogue.schedules,
        flow_id=due.flow_id,
        schedule_id=due.schedule_id,
        occurrence=due.occurrence,
        decidedon=position(decidedon),
    )
    _trigger(state, entry, due.flow_id, "scheduled", due.occurrence, outdated=outdated)


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
    outdated: bool = False,
) -> None:
    sent = entry.envelope
    scheduled = occurrence is not None
    execution_id = scheduled_execution_id(flow_id, occurrence) if scheduled else manual_execution_id(sent.id)
    if execution_id in state.executions or execution_id in state.processed:
        return
    state.triggers.setdefault(
        execution_id,
        Trigger(
            sequence=entry.sequence,
            time=sent.time,
            execution_id=execution_id,
            flow_id=flow_id,
            execution_type=execution_type,
            occurrence=occurrence,
            triggered_by=sent.actor or ("scheduler" if scheduled else "unknown"),
            cause=sent.id,
            retry_of=retry_of,
            only=only,
            ad_hoc=ad_hoc,
            outdated=outdated,
        ),
    )


def _begin_backfill(state: State, entry: Stored, event: FlowBackfilling) -> None:
    sent = entry.envelope
    for occurrence in event.occurrences:
        id_ = backfill_execution_id(event.backfill_id, occurrence)
        if id_ in state.executions or id_ in state.processed:
            continue
        state.triggers[id_] = Trigger(
            sequence=entry.sequence,
            time=sent.time,
            execution_id=id_,
            flow_id=event.flow_id,
            execution_type="manual",
            occurrence=occurrence,
            triggered_by=sent.actor or "unknown",
            cause=sent.id,
            backfill_id=event.backfill_id,
            max_concurrent=event.max_concurrent,
        )


def _cancel_backfill(state: State, event: FlowBackfillCancelled) -> None:
    for id_, trigger in state.triggers.items():
        if trigger.backfill_id == event.backfill_id:
            state.triggers[id_] = structs.replace(trigger, cancelled=event.reason)
    for id_ in state.running.get(event.backfill_id, ()):
        state.executions[id_].backfill_cancelled = event.reason


def _overdue(state: State, event: FlowOverdue) -> None:
    if event.deadline == "start" and event.execution_id in state.triggers:
        trigger = state.triggers[event.execution_id]
        state.triggers[event.execution_id] = structs.replace(trigger, late=event.passed_at)
    if execution := state.executions.get(event.execution_id):
        execution.pass_deadline(event)


def _is_new(state: State, started: FlowStarted) -> bool:
    """Tell whether an execution has never been started before."""
    id_ = started.execution_id
    if id_ in state.executions or id_ in state.processed:
        return False
    if id_ in state.triggers or started.execution_type != "scheduled" or started.occurrence is None:
        return True
    known = state.accounted.get(started.flow_id)
    return known is None or started.occurrence > known


def _account(state: State, entry: Stored, outcome: FlowStarted | FlowSkipped) -> None:
    """Take in the outcome of a trigger."""
    state.triggers.pop(outcome.execution_id, None)
    if outcome.occurrence is None or outcome.execution_type != "scheduled" or _was_never_due(outcome):
        if outcome.execution_id not in state.processed:
            state.processed.add(outcome.execution_id, entry.sequence)
    else:
        known = state.accounted.get(outcome.flow_id)
        state.accounted[outcome.flow_id] = outcome.occurrence if known is None else max(known, outcome.occurrence)


def _was_never_due(outcome: FlowStarted | FlowSkipped) -> bool:
    """Tell whether an occurrence was none: then those before it may still be due."""
    return isinstance(outcome, FlowSkipped) and outcome.reason == "definition_changed"


# --- backups ----------------------------------------------------------------------------------------------------------


def _backup(state: State, execution: Execution, entry: Stored, event: BackupEvent) -> None:
    match event:
        case BackupRequested():
            waiting = execution.waiting.get(event.backup_id)
            if execution.request(event, entry.sequence):
                state.abandoned.pop(event.backup_id, None)
                _place(state, execution, event.backup_id, entry.envelope.id)
                if waiting is not None:
                    state.in_flight.add(execution.started.flow_id, execution.started.repository_id, waiting)
        case BackupAbandoned():
            request = execution.requests.get(event.backup_id)
            if request and request.sequence == event.request:
                abandoned = AbandonedRequest(execution_id=event.execution_id, cause=entry.envelope.id)
                state.abandoned[event.backup_id] = abandoned
                state.misplaced.pop(event.backup_id, None)
        case BackupStarted():
            execution.begin(event)
            state.misplaced.pop(event.backup_id, None)
        case BackupRetrying():
            execution.retry(event)
            if event.backup_id in execution.requests:
                _place(state, execution, event.backup_id, entry.envelope.id)
        case BackupCompleted():
            end = BackupEnd(status="success", bytes_transferred=event.bytes_transferred, error=None)
            _end(state, execution, entry, event, end)
        case BackupFailed():
            _end(state, execution, entry, event, BackupEnd(status="error", bytes_transferred=0, error=event.error))
        case BackupCancelled():
            _end(state, execution, entry, event, BackupEnd(status="cancelled", bytes_transferred=0, error=event.reason))
        case BackupSkipped():
            _end(state, execution, entry, event, BackupEnd(status="skipped", bytes_transferred=0, error=event.reason))
        case _:
            pass


def _end(state: State, execution: Execution, entry: Stored, event: EndEvent, end: BackupEnd) -> None:
    in_flight = execution.in_flight.get(event.backup_id)
    if not execution.end(event, end, entry.envelope):
        return
    state.abandoned.pop(event.backup_id, None)
    state.misplaced.pop(event.backup_id, None)
    if in_flight is not None:
        state.in_flight.remove(execution.started.flow_id, execution.started.repository_id, in_flight)
