"""The executor's decisions: an execution from due to completed (DESIGN §6). Pure, and a function of the log alone.

State is folded from the log (`state.py`); `decide` compares what should have happened with what has and returns the
difference. Time never comes from a clock: a decision carries the time of the event that led to it, so replaying it
gives it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from schemas.base import Value
from schemas.commands import BackupVm
from schemas.definitions import Flow, Policy, Repository
from schemas.events import (
    BackupRequested,
    BackupSkipped,
    ExcludedVm,
    ExecutionStatus,
    FlowCancelling,
    FlowCompleted,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    PlannedBackup,
    Rejected,
    SkipReason,
)
from schemas.ids import AD_HOC, backup_id
from services.catalogue import Catalogue
from services.executor.admission import admit
from services.executor.state import Cancel, Execution, State, Trigger

PART = 2000  # VMs in one part of a plan: keeps a message well under the server's limit
BATCH = 1000  # messages in one atomic batch
BUFFERED = 100  # triggers of one flow that may wait for the running execution with `buffer_all`

Decided = (
    FlowStarted
    | FlowPlanned
    | FlowSkipped
    | FlowCancelling
    | FlowCompleted
    | BackupRequested
    | BackupSkipped
    | Rejected
)


class Decision(Value, frozen=True, kw_only=True):
    """One event to append, with the time and the id of what led to it."""

    event: Decided
    time: datetime
    cause: str
    actor: str | None = None


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
    batches += [[_answer_cancel(state, cancel)] for cancel in state.cancels.values()]
    batches += [[_complete(execution)] for execution in state.executions.values() if execution.finished]
    batches += _stopped(state)
    batches += _requests(state, begun, total_limit)
    return batches


def _answer(
    state: State, trigger: Trigger, begun: dict[str, tuple[Execution, list[Decision]]]
) -> tuple[list[Decision], Execution | None]:
    """Return the batch that answers a trigger (empty: it waits), and the execution that begins with it."""
    assert state.time is not None
    if trigger.ad_hoc is not None:
        return _answer_ad_hoc(state.catalogue, trigger, trigger.ad_hoc, state.time)
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


def _answer_ad_hoc(
    catalogue: Catalogue, trigger: Trigger, wish: BackupVm, time: datetime
) -> tuple[list[Decision], Execution | None]:
    """Answer a wish for one VM as if a flow over it alone, and run by hand, had been there."""
    vm, repository = catalogue.vms.get(wish.context_id), catalogue.repositories.get(wish.repository_id)
    if vm is None:
        return _skip(trigger, time, "target_deleted", f"VM {wish.context_id!r} does not exist"), None
    if repository is None:
        return _skip(trigger, time, "repository_deleted", f"repository {wish.repository_id!r} does not exist"), None
    flow = Flow(
        id=AD_HOC,
        name=f"ad hoc: {vm.vm_name}",
        flow_type="backup",
        target_type="vm",
        target_id=vm.id,
        repository_id=repository.id,
        policy_id=wish.policy_id if wish.policy_id in catalogue.policies else None,
        version=1,
        created_at=time,
        updated_at=time,
        created_by=trigger.triggered_by,
        armed_at=time,
    )
    if refusal := _refusal(catalogue, flow, trigger):
        return _skip(trigger, time, *refusal), None
    return _begin(catalogue, flow, trigger, time)


def _answer_cancel(state: State, cancel: Cancel) -> Decision:
    """Return the execution's end in sight, or why there is nothing to stop."""
    assert state.time is not None
    execution = state.executions.get(cancel.execution_id)
    whole = cancel.context_id is None
    open_vms = [backup.context_id for backup in _open(execution)] if execution else []
    if execution is None or not (whole or cancel.context_id in open_vms):
        what = f"execution {cancel.execution_id!r}"
        what = what if whole or execution is None else f"the backup of VM {cancel.context_id!r} in {what}"
        no = Rejected(
            entity="execution",
            verb="cancel",
            id=cancel.execution_id,
            code="conflict",
            reason=f"{what} is not running: there is nothing to cancel",
        )
        return Decision(event=no, time=state.time, cause=cancel.cause, actor=cancel.actor)
    event = FlowCancelling(
        flow_id=execution.started.flow_id,
        execution_id=cancel.execution_id,
        context_id=cancel.context_id,
        reason=f"cancelled by {cancel.actor}",
    )
    return Decision(event=event, time=state.time, cause=cancel.cause, actor=cancel.actor)


def _open(execution: Execution) -> list[PlannedBackup]:
    return [*execution.waiting.values(), *execution.in_flight.values()]


def _stopped(state: State) -> list[list[Decision]]:
    """Return the skips of backups that wait in executions that are to stop, in batches."""
    assert state.time is not None
    skips: list[Decision] = []
    for execution in state.executions.values():
        if execution.cancelled is None and not execution.cancelled_vms:
            continue
        for backup in execution.waiting.values():
            if reason := execution.stop_reason(backup):
                event = _skipped(execution, backup, reason)
                skips.append(Decision(event=event, time=state.time, cause=execution.cause))
    return [skips[i : i + BATCH] for i in range(0, len(skips), BATCH)]


def _skipped(execution: Execution, backup: PlannedBackup, reason: str) -> BackupSkipped:
    return BackupSkipped(
        flow_id=execution.started.flow_id,
        execution_id=execution.started.execution_id,
        backup_id=backup.backup_id,
        context_id=backup.context_id,
        reason=reason,
    )


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


class Preview(Value, frozen=True, kw_only=True):
    """What running a flow by hand would do now: why it would not, or which VMs it would take and leave out."""

    refusal: str | None
    planned: list[PlannedBackup]
    excluded: list[ExcludedVm]


def preview(catalogue: Catalogue, flow: Flow) -> Preview:
    """Return what the executor would decide about a flow run by hand."""
    trigger = Trigger(
        execution_id="preview",
        flow_id=flow.id,
        execution_type="manual",
        occurrence=None,
        triggered_by="preview",
        cause="preview",
    )
    refusal = _refusal(catalogue, flow, trigger)
    planned, excluded = _resolve(catalogue, flow, trigger)
    return Preview(refusal=refusal[1] if refusal else None, planned=planned, excluded=excluded)


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
    planned, excluded = _resolve(catalogue, flow, trigger)
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
        retry_of=trigger.retry_of,
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


def _resolve(catalogue: Catalogue, flow: Flow, trigger: Trigger) -> tuple[list[PlannedBackup], list[ExcludedVm]]:
    """Return the target's VMs, higher priority first, and those left out with the reason."""
    execution_id = trigger.execution_id
    planned: list[PlannedBackup] = []
    excluded: list[ExcludedVm] = []
    targets = list(_targets(catalogue, flow))
    for context_id, member_enabled in targets:
        vm = catalogue.vms[context_id]
        if trigger.only is not None and context_id not in trigger.only:
            excluded.append(ExcludedVm(context_id=context_id, reason="it succeeded in the execution that is retried"))
        elif not member_enabled:
            excluded.append(ExcludedVm(context_id=context_id, reason="disabled in its group"))
        elif not vm.enabled:
            excluded.append(ExcludedVm(context_id=context_id, reason="the VM is disabled"))
        else:
            id_ = backup_id(execution_id, context_id)
            planned.append(PlannedBackup(backup_id=id_, context_id=context_id, vm_name=vm.vm_name))
    gone = sorted((trigger.only or frozenset()) - {context_id for context_id, _ in targets})
    excluded += [ExcludedVm(context_id=context_id, reason="no longer in the flow's target") for context_id in gone]
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
    status = _status(planned=len(ended), done=len(done), cancelled=execution.cancelled is not None and left > 0)
    if status == "cancelled":
        reason = execution.cancelled
    elif reason is None and status != "success":
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


def _status(*, planned: int, done: int, cancelled: bool) -> ExecutionStatus:
    if cancelled:
        return "cancelled"
    if not planned:
        return "warning"
    if done == planned:
        return "success"
    return "warning" if done else "error"


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
        [execution.queue() for execution in executions if execution.waiting and not execution.cancelled],
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
        event: BackupRequested | BackupSkipped = _skipped(execution, backup, missing)
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
        case FlowCancelling():
            return f"cancelling:{event.execution_id}" + (f":{event.context_id}" if event.context_id else "")
        case Rejected():
            return f"rejected:{event.verb}:{event.id}"
