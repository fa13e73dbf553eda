"""What the executor knows, folded from the log: the catalogue, what is wished for, and what is on its way. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable
from datetime import datetime

from msgspec import structs

from bus.envelope import Stored
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
    AttemptEvent,
    BackupAbandoned,
    BackupCancelled,
    BackupCompleted,
    BackupFailed,
    BackupRequested,
    BackupRetrying,
    BackupSkipped,
    BackupStarted,
    BackupStatus,
    Defined,
    ExecutionType,
    FlowBackfillCancelled,
    FlowBackfilling,
    FlowCancelling,
    FlowCompleted,
    FlowDefined,
    FlowDue,
    FlowOverdue,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    PlannedBackup,
    Rejected,
    ScheduleDefined,
    StopOrigin,
)
from schemas.ids import AD_HOC, backfill_execution_id, manual_execution_id, scheduled_execution_id
from services.catalogue import Catalogue
from services.executor.admission import Claim, Slots, urgency
from services.processed import ProcessedIds
from services.scheduler.versions import Versions


class Trigger(Value, frozen=True, kw_only=True):
    """A wish for an execution that the log has no answer to yet.

    `retry_of` and `only`: over these VMs of an earlier execution. `ad_hoc`: of one VM, outside any flow. `late`: when
    its start deadline passed.
    """

    sequence: int
    time: datetime
    execution_id: str
    flow_id: str
    execution_type: ExecutionType
    occurrence: datetime | None
    triggered_by: str
    cause: str  # id of the message
    retry_of: str | None = None
    only: frozenset[str] | None = None
    ad_hoc: BackupVm | None = None
    late: datetime | None = None
    backfill_id: str | None = None
    max_concurrent: int = 1  # executions of the backfill
    cancelled: str | None = None
    outdated: bool = False  # its scheduler had not seen a change of definitions after which the flow was not due


class Wish(Value, frozen=True, kw_only=True):
    """A command on backfills that the log has no answer to yet. `flow_known`: its flow existed when it came."""

    sequence: int
    command: CreateBackfill | CancelBackfill
    actor: str
    cause: str
    flow_known: bool


class Cancel(Value, frozen=True, kw_only=True):
    """A wish to stop an execution that the log has no answer to yet.

    `open`: the one VM that it is about was waiting or in flight when it came. So every executor gives the same answer,
    however late, although workers' reports stand on other subjects than the answer does.
    """

    sequence: int
    execution_id: str
    context_id: str | None
    actor: str
    cause: str
    open: bool


class Stop(Value, frozen=True, kw_only=True):
    """That an execution, or one VM of it, is to stop. `forsaken`: a worker did not answer in time."""

    origin: StopOrigin
    reason: str
    forsaken: bool = False


class Request(Value, frozen=True, kw_only=True):
    """The newest request of a backup in flight: where on the log it stands, and when the first one was made.

    `delay`: seconds for which nobody needs to hold it, as its last attempt has failed and the next one is to wait.
    """

    sequence: int
    round: int
    requested_at: datetime
    delay: int = 0


class Abandoned(Value, frozen=True, kw_only=True):
    """That nobody holds the newest request of a backup, and nobody will be given it. `cause`: the message's id."""

    execution_id: str
    cause: str


class Ended(Value, frozen=True, kw_only=True):
    """How one backup ended. The first end on the log counts, unless a newer attempt had begun before it."""

    status: BackupStatus
    bytes_transferred: int
    error: str | None


class Backup(Value, frozen=True, kw_only=True):
    """One backup of an execution: a `schemas.events.OneBackup`."""

    flow_id: str
    execution_id: str
    backup_id: str
    context_id: str


class Execution:
    """An execution that has not completed: its terms, its plan, and how far it is."""

    def __init__(self, started: FlowStarted, time: datetime, sequence: int) -> None:
        self.started = started
        self.started_at = time
        self.sequence = sequence
        self.time = time  # of the last event that moved it on
        self.cause = f"started:{started.execution_id}"  # id of that event
        self.parts: set[int] = set()  # of the plan
        self.stop: Stop | None = None  # of the whole of it
        self.stops: dict[str, Stop] = {}  # by context id, of one VM
        self.late: datetime | None = None  # when its start deadline passed
        self.recalled: str | None = None  # why the backfill that it is part of was cancelled
        self.overdue: datetime | None = None  # when it should have ended
        self.waiting: dict[str, PlannedBackup] = {}
        self.in_flight: dict[str, PlannedBackup] = {}
        self.requests: dict[str, Request] = {}  # of those in flight
        self.begun: dict[str, int] = {}  # of those in flight: the last attempt that a worker began
        self.ended: dict[str, Ended] = {}

    def plan(self, planned: FlowPlanned) -> None:
        """Take in a part of the plan."""
        if planned.part not in self.parts:
            self.parts.add(planned.part)
            self.waiting.update({backup.backup_id: backup for backup in planned.backups})

    @property
    def finished(self) -> bool:
        return len(self.parts) == self.started.parts and not self.waiting and not self.in_flight

    @property
    def stopping(self) -> bool:
        """Whether anything in it is not to be started any more."""
        return self.stop is not None or bool(self.stops) or self.late is not None

    def backup(self, planned: PlannedBackup) -> Backup:
        """Return which backup a planned one is."""
        return Backup(
            flow_id=self.started.flow_id,
            execution_id=self.started.execution_id,
            backup_id=planned.backup_id,
            context_id=planned.context_id,
        )

    @property
    def open_vms(self) -> set[str]:
        """The VMs whose backups have not ended."""
        return {backup.context_id for backup in (*self.waiting.values(), *self.in_flight.values())}

    def delay(self, backup_id: str, seconds: int) -> None:
        """Note for how long nobody needs to hold the request of a backup in flight."""
        request = self.requests[backup_id]
        if request.delay != seconds:
            self.requests[backup_id] = structs.replace(request, delay=seconds)

    def stop_of(self, backup: PlannedBackup) -> Stop | None:
        """Return why a backup is to stop, None when it is not."""
        return self.stop or self.stops.get(backup.context_id)

    def claim(self, stopping: Container[tuple[str, str | None]] = ()) -> Claim | None:
        """Return what it wants of the slots, None when there is nothing. `stopping`: what is being stopped just now."""
        id_ = self.started.execution_id
        if not self.waiting or self.stop is not None or self.late is not None or (id_, None) in stopping:
            return None
        waiting: Iterable[PlannedBackup] = self.waiting.values()
        if self.stops or stopping:
            waiting = [
                one for one in waiting if one.context_id not in self.stops and (id_, one.context_id) not in stopping
            ]
        return Claim(
            execution_id=id_,
            flow_id=self.started.flow_id,
            repository_id=self.started.repository_id,
            urgency=urgency(
                self.started_at,
                manual=self.started.execution_type != "scheduled",
                priority=self.started.priority,
            ),
            limit=self.started.max_concurrent_jobs,
            waiting=waiting,
        )


class State:
    """What the executor knows. `evolve` changes it in place."""

    def __init__(self) -> None:
        self.time: datetime | None = None  # of the last message: the only "now" there is
        self.catalogue = Catalogue()
        self.triggers: dict[str, Trigger] = {}
        self.cancels: dict[str, Cancel] = {}  # by command
        self.wishes: dict[str, Wish] = {}  # by command
        self.executions: dict[str, Execution] = {}
        self.running: dict[str, set[str]] = {}  # by flow, or by backfill: its executions
        self.in_flight = Slots()
        self.abandoned: dict[str, Abandoned] = {}  # by backup
        self.accounted: dict[str, datetime] = {}  # by flow: the last occurrence with an answer
        self.processed = ProcessedIds()  # commands, and executions that no schedule asked for
        self.versions = Versions()

    @property
    def oldest(self) -> int | None:
        """Where on the log the oldest thing stands that is not over: who begins to fold there misses nothing."""
        open_ones = (
            *(*self.triggers.values(), *self.cancels.values()),
            *(*self.wishes.values(), *self.executions.values()),
        )
        return min((one.sequence for one in open_ones), default=None)


def evolve(state: State, entry: Stored) -> State:
    """Take in one message of the log. What was said before, or is about nothing known, changes nothing."""
    sent = entry.envelope
    state.time = sent.time
    match sent.data:
        case Command() as command:
            if sent.id not in state.processed:
                _command(state, entry, command)
        case FlowDue() as due:
            _due(state, entry, due)
        case FlowBackfilling() as backfill:
            if _answer(state, entry):
                _backfill(state, entry, backfill)
        case FlowBackfillCancelled() as no_more:
            _answer(state, entry)
            _recall(state, no_more)
        case Rejected():
            _answer(state, entry)
        case FlowCancelling() as cancelling:
            if cancelling.origin == "asked":
                _answer(state, entry)
            if execution := state.executions.get(cancelling.execution_id):
                _stop(execution, cancelling, entry)
        case FlowOverdue() as overdue:
            _overdue(state, overdue)
        case FlowSkipped() as skipped:
            _answered(state, entry, skipped)
        case FlowStarted() as started:
            if _is_new(state, started):
                _answered(state, entry, started)
                state.executions[started.execution_id] = Execution(started, sent.time, entry.sequence)
                state.running.setdefault(group_of(started), set()).add(started.execution_id)
        case FlowPlanned() as planned:
            if execution := state.executions.get(planned.execution_id):
                execution.plan(planned)
        case BackupRequested() as requested:
            _requested(state, entry, requested)
        case BackupAbandoned() as abandoned:
            execution = state.executions.get(abandoned.execution_id)
            request = execution.requests.get(abandoned.backup_id) if execution else None
            if request and request.sequence == abandoned.request:
                state.abandoned[abandoned.backup_id] = Abandoned(execution_id=abandoned.execution_id, cause=sent.id)
        case BackupStarted() as begun:
            execution = state.executions.get(begun.execution_id)
            if execution and begun.backup_id in execution.in_flight:
                execution.begun[begun.backup_id] = max(begun.attempt, execution.begun.get(begun.backup_id, 0))
                execution.delay(begun.backup_id, 0)
        case BackupRetrying() as retrying:
            execution = state.executions.get(retrying.execution_id)
            if execution and retrying.attempt == execution.begun.get(retrying.backup_id):
                execution.delay(retrying.backup_id, retrying.delay_seconds)
        case BackupCompleted() as done:
            _end(state, entry, done, Ended(status="success", bytes_transferred=done.bytes_transferred, error=None))
        case BackupFailed() as failed:
            _end(state, entry, failed, Ended(status="error", bytes_transferred=0, error=failed.error))
        case BackupCancelled() as cancelled:
            _end(state, entry, cancelled, Ended(status="cancelled", bytes_transferred=0, error=cancelled.reason))
        case BackupSkipped() as left:
            _end(state, entry, left, Ended(status="skipped", bytes_transferred=0, error=left.reason))
        case FlowCompleted() as completed:
            if over := state.executions.pop(completed.execution_id, None):
                state.running[group_of(over.started)].discard(completed.execution_id)
        case FlowDefined() as flow:
            before = state.catalogue.flows.get(flow.id)
            state.versions.evolve_flow(flow, before, entry.sequence, sent.time)
            state.catalogue.evolve(flow)
        case ScheduleDefined() as schedule:
            before_ = state.catalogue.schedules.get(schedule.id)
            state.versions.evolve_schedule(schedule, before_, entry.sequence, sent.time)
            state.catalogue.evolve(schedule)
        case event if isinstance(event, Defined):
            state.catalogue.evolve(event)
        case _:
            pass
    return state


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
            cancel = Cancel(
                sequence=entry.sequence,
                execution_id=command.id,
                context_id=command.context_id,
                actor=actor,
                cause=sent.id,
                open=execution is not None and command.context_id in execution.open_vms,
            )
            state.cancels.setdefault(sent.id, cancel)
        case CreateBackfill() | CancelBackfill():
            wish = Wish(
                sequence=entry.sequence,
                command=command,
                actor=actor,
                cause=sent.id,
                flow_known=command.flow_id in state.catalogue.flows,
            )
            state.wishes.setdefault(sent.id, wish)
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
        decidedon=int(decidedon),
    )
    _trigger(state, entry, due.flow_id, "scheduled", due.occurrence, outdated=outdated)


def _is_new(state: State, started: FlowStarted) -> bool:
    """Tell whether an execution has never been started before."""
    id_ = started.execution_id
    if id_ in state.executions or id_ in state.processed:
        return False
    if id_ in state.triggers or started.execution_type != "scheduled" or started.occurrence is None:
        return True
    known = state.accounted.get(started.flow_id)
    return known is None or started.occurrence > known


def _answer(state: State, entry: Stored) -> bool:
    """Take in that a command has its answer; tell whether this is the first one."""
    command_id = entry.envelope.causationid or ""
    state.cancels.pop(command_id, None)
    state.wishes.pop(command_id, None)
    if command_id in state.processed:
        return False
    state.processed.add(command_id, entry.sequence)
    return True


def _requested(state: State, entry: Stored, event: BackupRequested) -> None:
    execution = state.executions.get(event.execution_id)
    if execution is None:
        return
    if backup := execution.waiting.pop(event.backup_id, None):
        execution.in_flight[backup.backup_id] = backup
        state.in_flight.add(event.flow_id, event.repository_id, backup)
    elif event.backup_id not in execution.in_flight or event.round <= execution.requests[event.backup_id].round:
        return
    state.abandoned.pop(event.backup_id, None)
    execution.requests[event.backup_id] = Request(
        sequence=entry.sequence, round=event.round, requested_at=event.requested_at
    )


def group_of(one: FlowStarted | Trigger) -> str:
    """Return what an execution counts as running for: its backfill, which has a concurrency of its own, or its flow."""
    return one.backfill_id or one.flow_id


def _backfill(state: State, entry: Stored, event: FlowBackfilling) -> None:
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


def _recall(state: State, event: FlowBackfillCancelled) -> None:
    for id_, trigger in state.triggers.items():
        if trigger.backfill_id == event.backfill_id:
            state.triggers[id_] = structs.replace(trigger, cancelled=event.reason)
    for id_ in state.running.get(event.backfill_id, ()):
        state.executions[id_].recalled = event.reason


def _stop(execution: Execution, event: FlowCancelling, entry: Stored) -> None:
    stop = Stop(origin=event.origin, reason=event.reason)
    if event.context_id is None:
        execution.stop = execution.stop or stop
    else:
        execution.stops.setdefault(event.context_id, stop)
    execution.time = entry.envelope.time
    execution.cause = entry.envelope.id


def _overdue(state: State, event: FlowOverdue) -> None:
    if event.deadline == "start" and event.execution_id in state.triggers:
        trigger = state.triggers[event.execution_id]
        state.triggers[event.execution_id] = structs.replace(trigger, late=event.passed_at)
    execution = state.executions.get(event.execution_id)
    if execution is None:
        return
    match event.deadline:
        case "start":
            execution.late = event.passed_at
        case "finish":
            execution.overdue = event.passed_at
        case "stop" if event.context_id is not None:
            if stop := execution.stops.get(event.context_id):
                execution.stops[event.context_id] = structs.replace(stop, forsaken=True)
        case "stop":
            if execution.stop is not None:
                execution.stop = structs.replace(execution.stop, forsaken=True)


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


def _answered(state: State, entry: Stored, answer: FlowStarted | FlowSkipped) -> None:
    state.triggers.pop(answer.execution_id, None)
    if answer.occurrence is None or answer.execution_type != "scheduled" or _was_never_due(answer):
        if answer.execution_id not in state.processed:
            state.processed.add(answer.execution_id, entry.sequence)
    else:
        known = state.accounted.get(answer.flow_id)
        state.accounted[answer.flow_id] = answer.occurrence if known is None else max(known, answer.occurrence)


def _was_never_due(answer: FlowStarted | FlowSkipped) -> bool:
    """Tell whether an occurrence was none: then those before it may still be due."""
    return isinstance(answer, FlowSkipped) and answer.reason == "definition_changed"


def _end(
    state: State,
    entry: Stored,
    event: BackupCompleted | BackupFailed | BackupCancelled | BackupSkipped,
    ended: Ended,
) -> None:
    execution = state.executions.get(event.execution_id)
    if execution is None or event.backup_id in execution.ended:
        return
    if isinstance(event, AttemptEvent) and event.attempt < execution.begun.get(event.backup_id, 0):
        return  # a worker that was thought dead, and whose backup another one has begun anew
    execution.waiting.pop(event.backup_id, None)
    backup = execution.in_flight.pop(event.backup_id, None)
    execution.begun.pop(event.backup_id, None)
    execution.requests.pop(event.backup_id, None)
    state.abandoned.pop(event.backup_id, None)
    if backup is not None:
        state.in_flight.remove(execution.started.flow_id, execution.started.repository_id, backup)
    execution.ended[event.backup_id] = ended
    execution.time = entry.envelope.time
    execution.cause = entry.envelope.id
