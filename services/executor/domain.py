"""The executor's decisions: an execution from due to completed (DESIGN §6). Pure, and a function of the log alone.

State is folded from the log; `decide` compares what should have happened with what has and returns the difference.
Time never comes from a clock: a decision carries the time of the event that led to it, so replaying it gives it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from bus.envelope import Stored
from schemas.base import Value
from schemas.commands import ExecuteFlow
from schemas.definitions import Flow, Policy, Repository
from schemas.events import (
    BackupCancelled,
    BackupCompleted,
    BackupFailed,
    BackupRequested,
    BackupSkipped,
    Defined,
    ExcludedVm,
    ExecutionType,
    FlowCompleted,
    FlowDue,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    PlannedBackup,
    SkipReason,
)
from schemas.ids import backup_id, manual_execution_id, scheduled_execution_id
from services.catalogue import Catalogue
from services.executor.admission import InFlight, Queue, admit

PART = 2000  # VMs in one part of a plan: keeps a message well under the server's limit
BATCH = 1000  # messages in one atomic batch
BUFFERED = 100  # triggers of one flow that may wait for the running execution with `buffer_all`

Decided = FlowStarted | FlowPlanned | FlowSkipped | FlowCompleted | BackupRequested | BackupSkipped


class Trigger(Value, frozen=True, kw_only=True):
    """A wish for an execution that the log has no answer to yet."""

    execution_id: str
    flow_id: str
    execution_type: ExecutionType
    occurrence: datetime | None
    triggered_by: str
    cause: str  # id of the message


class Ended(Value, frozen=True, kw_only=True):
    """How one backup ended. The first end on the log counts, whatever a straggler says later."""

    status: str
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
        self.waiting: dict[str, PlannedBackup] = {}
        self.in_flight: dict[str, PlannedBackup] = {}
        self.ended: dict[str, Ended] = {}

    @property
    def finished(self) -> bool:
        return self.parts == self.started.parts and not self.waiting and not self.in_flight

    def queue(self) -> Queue:
        return Queue(
            execution_id=self.started.execution_id,
            flow_id=self.started.flow_id,
            repository_id=self.started.repository_id,
            priority=self.started.priority,
            limit=self.started.max_concurrent_jobs,
            waiting=self.waiting.values(),
        )


class State:
    """What the executor knows. `evolve` changes it in place."""

    def __init__(self) -> None:
        self.time: datetime | None = None  # of the last message: the only "now" there is
        self.catalogue = Catalogue()
        self.triggers: dict[str, Trigger] = {}
        self.executions: dict[str, Execution] = {}
        self.in_flight = InFlight()
        self.accounted: dict[str, datetime] = {}  # by flow: the last occurrence with an answer

    def running(self, flow_id: str) -> bool:
        return any(execution.started.flow_id == flow_id for execution in self.executions.values())


class Decision(Value, frozen=True, kw_only=True):
    """One event to append, with the time and the id of what led to it."""

    event: Decided
    time: datetime
    cause: str
    actor: str | None = None


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


def _trigger(
    state: State, entry: Stored, flow_id: str, execution_type: ExecutionType, occurrence: datetime | None
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


# --- decide ----------------------------------------------------------------------------------------------------------


def decide(state: State, *, total_limit: int | None = None) -> list[list[Decision]]:
    """Return what is to be appended now, in order; each inner list is one atomic batch of at most `BATCH` messages.

    `total_limit` is how many backups may be in flight over all flows.
    """
    if state.time is None:
        return []
    batches: list[list[Decision]] = []
    begun: dict[str, tuple[Execution, list[Decision]]] = {}
    for trigger in state.triggers.values():
        batch, execution = _answer(state, trigger, begun)
        if batch:
            batches.append(batch)
            if execution is not None:
                begun[trigger.execution_id] = (execution, batch)
    batches += [[_complete(execution)] for execution in state.executions.values() if execution.finished]
    batches += _requests(state, begun, total_limit)
    return batches


def _answer(
    state: State, trigger: Trigger, begun: dict[str, tuple[Execution, list[Decision]]]
) -> tuple[list[Decision], Execution | None]:
    """Return the batch that answers a trigger (empty: it waits), and the execution that begins with it."""
    assert state.time is not None
    flow = state.catalogue.flows.get(trigger.flow_id)
    if flow is None:
        return _skip(trigger, state.time, "flow_deleted", f"flow {trigger.flow_id!r} does not exist"), None
    running = state.running(flow.id) or any(other.started.flow_id == flow.id for other, _ in begun.values())
    if running and flow.overlap_policy != "allow":
        ahead = _ahead(state, trigger)
        room = {"skip": 0, "buffer_one": 1, "buffer_all": BUFFERED}[flow.overlap_policy]
        if ahead < room:
            return [], None
        message = "an execution of this flow is still running"
        if room:
            message += f", and {ahead} already wait for it"
        return _skip(trigger, state.time, "overlap", f"{message} (overlap policy {flow.overlap_policy})"), None
    if refusal := _refusal(state.catalogue, flow, trigger):
        return _skip(trigger, state.time, *refusal), None
    return _begin(state.catalogue, flow, trigger, state.time)


def _ahead(state: State, trigger: Trigger) -> int:
    """Count the triggers of the same flow that were there first and still wait."""
    count = 0
    for other in state.triggers.values():
        if other.execution_id == trigger.execution_id:
            break
        count += other.flow_id == trigger.flow_id
    return count


def _refusal(catalogue: Catalogue, flow: Flow, trigger: Trigger) -> tuple[SkipReason, str] | None:
    """Return why a flow cannot run now. Run by hand, a disabled flow runs: that is what the button is for."""
    if not flow.enabled and trigger.execution_type == "scheduled":
        return "flow_disabled", f"flow {flow.name!r} is disabled"
    if flow.flow_type != "backup" or flow.repository_id is None:
        return "unsupported", f"flow {flow.name!r} is a {flow.flow_type} flow; only backup flows are executed"
    if flow.target_type == "group" and not catalogue.groups[flow.target_id].enabled:
        return "target_disabled", f"group {catalogue.groups[flow.target_id].name!r} is disabled"
    if not catalogue.repositories[flow.repository_id].enabled:
        return "repository_disabled", f"repository {catalogue.repositories[flow.repository_id].name!r} is disabled"
    if flow.policy_id is not None and not catalogue.policies[flow.policy_id].enabled:
        return "policy_disabled", f"policy {catalogue.policies[flow.policy_id].name!r} is disabled"
    return None


def _skip(trigger: Trigger, time: datetime, reason: SkipReason, message: str) -> list[Decision]:
    event = FlowSkipped(
        flow_id=trigger.flow_id,
        execution_id=trigger.execution_id,
        execution_type=trigger.execution_type,
        occurrence=trigger.occurrence,
        reason=reason,
        message=message,
    )
    return [Decision(event=event, time=time, cause=trigger.cause, actor=trigger.triggered_by)]


def _begin(catalogue: Catalogue, flow: Flow, trigger: Trigger, time: datetime) -> tuple[list[Decision], Execution]:
    """Return the batch that starts an execution: its terms, its plan in parts; its end too when nothing is to do."""
    assert flow.repository_id is not None
    planned, excluded = _resolve(catalogue, flow, trigger.execution_id)
    chunks = [planned[i : i + PART] for i in range(0, len(planned), PART)] or [[]]
    schedule = catalogue.schedules.get(flow.schedule_id) if flow.schedule_id else None
    limits = [limit for limit in (flow.max_concurrent_jobs, schedule and schedule.max_concurrent_jobs) if limit]
    started = FlowStarted(
        flow_id=flow.id,
        execution_id=trigger.execution_id,
        flow_name=flow.name,
        flow_version=flow.version,
        execution_type=trigger.execution_type,
        triggered_by=trigger.triggered_by,
        occurrence=trigger.occurrence,
        overlap_policy=flow.overlap_policy,
        repository_id=flow.repository_id,
        policy_id=flow.policy_id,
        priority=flow.priority,
        max_concurrent_jobs=min(limits, default=None),
        jobs=len(planned),
        parts=len(chunks),
    )
    parts = [
        FlowPlanned(
            flow_id=flow.id,
            execution_id=trigger.execution_id,
            part=number,
            parts=len(chunks),
            backups=chunk,
            excluded=excluded if number == 1 else [],
        )
        for number, chunk in enumerate(chunks, start=1)
    ]
    execution = Execution(started, time)
    execution.parts = len(parts)
    execution.waiting = {backup.backup_id: backup for backup in planned}
    batch = [
        Decision(event=event, time=time, cause=trigger.cause, actor=trigger.triggered_by) for event in (started, *parts)
    ]
    if not planned:
        batch.append(_complete(execution, _nothing_to_do(catalogue, flow, excluded)))
    return batch, execution


def _resolve(catalogue: Catalogue, flow: Flow, execution_id: str) -> tuple[list[PlannedBackup], list[ExcludedVm]]:
    """Return the target's VMs, higher priority first, and those left out with the reason."""
    planned: list[PlannedBackup] = []
    excluded: list[ExcludedVm] = []
    for context_id, member_enabled in _targets(catalogue, flow):
        vm = catalogue.vms[context_id]
        if not member_enabled:
            excluded.append(ExcludedVm(context_id=context_id, reason="disabled in its group"))
        elif not vm.enabled:
            excluded.append(ExcludedVm(context_id=context_id, reason="the VM is disabled"))
        else:
            id_ = backup_id(execution_id, context_id)
            planned.append(PlannedBackup(backup_id=id_, context_id=context_id, vm_name=vm.vm_name))
    return planned, excluded


def _targets(catalogue: Catalogue, flow: Flow) -> Iterator[tuple[str, bool]]:
    if flow.target_type == "vm":
        yield flow.target_id, True
        return
    for member in sorted(catalogue.groups[flow.target_id].members, key=lambda member: -member.priority):
        yield member.context_id, member.enabled


def _nothing_to_do(catalogue: Catalogue, flow: Flow, excluded: list[ExcludedVm]) -> str:
    if flow.target_type == "vm":
        return f"nothing to back up: {excluded[0].reason}"
    group = catalogue.groups[flow.target_id].name
    if not excluded:
        return f"nothing to back up: group {group!r} is empty"
    return f"nothing to back up: all {len(excluded)} VMs of group {group!r} are left out"


def _complete(execution: Execution, reason: str | None = None) -> Decision:
    """Return an execution's end, by the status rules of DESIGN §5, with a recount of its backups."""
    ended = execution.ended.values()
    done = [end for end in ended if end.status == "success"]
    failed = [end for end in ended if end.status == "error"]
    left = len(ended) - len(done) - len(failed)
    status = ("success" if ended else "warning") if len(done) == len(ended) else "warning" if done else "error"
    if reason is None and status != "success":
        first = next((end.error for end in (*failed, *ended) if end.error), None)
        reason = f"{len(ended) - len(done)} of {len(ended)} backups did not succeed; the first: {first}"
    event = FlowCompleted(
        flow_id=execution.started.flow_id,
        execution_id=execution.started.execution_id,
        status=status,
        started_at=execution.started_at,
        completed_at=execution.time,
        jobs_created=len(ended),
        jobs_completed=len(done),
        jobs_failed=len(failed),
        jobs_skipped=left,
        bytes_transferred=sum(end.bytes_transferred for end in ended),
        error_message=reason,
    )
    return Decision(event=event, time=execution.time, cause=execution.cause)


def _requests(
    state: State, begun: dict[str, tuple[Execution, list[Decision]]], total_limit: int | None
) -> list[list[Decision]]:
    """Admit waiting backups. The first ones of an execution that begins join the batch that begins it."""
    assert state.time is not None
    executions = [*state.executions.values(), *(execution for execution, _ in begun.values())]
    by_id = {execution.started.execution_id: execution for execution in executions}

    def repository_limit(repository_id: str) -> int | None:
        repository = state.catalogue.repositories.get(repository_id)
        return repository.max_concurrent_jobs if repository else None

    admitted = admit(
        [execution.queue() for execution in executions if execution.waiting],
        state.in_flight,
        repository_limit=repository_limit,
        total_limit=total_limit,
        most=10 * BATCH,
    )
    later: list[list[Decision]] = []
    for queue, backup in admitted:
        execution = by_id[queue.execution_id]
        decision = _request(state.catalogue, execution, backup, state.time)
        _, batch = begun.get(queue.execution_id, (None, None))
        if batch is not None and len(batch) < BATCH:
            batch.append(decision)
        else:
            if not later or len(later[-1]) >= BATCH:
                later.append([])
            later[-1].append(decision)
    return later


def _request(catalogue: Catalogue, execution: Execution, backup: PlannedBackup, time: datetime) -> Decision:
    """Return the request for one backup; a definition that is gone by now turns it into a skip with that reason."""
    started = execution.started
    vm = catalogue.vms.get(backup.context_id)
    repository = catalogue.repositories.get(started.repository_id)
    policy = catalogue.policies.get(started.policy_id) if started.policy_id else None
    missing = _missing(execution, vm is not None, repository, policy)
    if vm is None or repository is None or missing:
        event: BackupRequested | BackupSkipped = BackupSkipped(
            flow_id=started.flow_id,
            execution_id=started.execution_id,
            backup_id=backup.backup_id,
            context_id=backup.context_id,
            reason=missing or "deleted while the execution ran",
        )
    else:
        event = BackupRequested(
            flow_id=started.flow_id,
            execution_id=started.execution_id,
            backup_id=backup.backup_id,
            context_id=backup.context_id,
            vm_name=vm.vm_name,
            disks=vm.disks,
            repository_id=repository.id,
            engine=repository.type,
            location=repository.location,
            config=repository.config,
            backup_type=policy.backup_type if policy else "auto",
            retry_attempts=policy.retry_attempts if policy else 0,
            retry_delay_seconds=policy.retry_delay_seconds if policy else 30,
            timeout_seconds=policy.timeout_seconds if policy else None,
            requested_at=time,
        )
    return Decision(event=event, time=time, cause=execution.cause)


def _missing(execution: Execution, vm: bool, repository: Repository | None, policy: Policy | None) -> str:
    gone: Sequence[tuple[bool, str]] = (
        (not vm, "the VM"),
        (repository is None, "the repository"),
        (execution.started.policy_id is not None and policy is None, "the policy"),
    )
    names = [name for is_gone, name in gone if is_gone]
    return f"{' and '.join(names)} was deleted while the execution ran" if names else ""


def id_of(event: Decided) -> str:
    """Return a decision's id: the same decision has the same one, whoever takes it and however often."""
    match event:
        case BackupRequested():
            return f"requested:{event.backup_id}"
        case BackupSkipped():
            return f"skipped:{event.backup_id}"
        case FlowStarted():
            return f"started:{event.execution_id}"
        case FlowPlanned():
            return f"planned:{event.execution_id}:{event.part}"
        case FlowSkipped():
            return f"skipped:{event.execution_id}"
        case FlowCompleted():
            return f"completed:{event.execution_id}"
