"""The executor's decisions: an execution from due to completed (DESIGN §6). Pure, and a function of the log alone.

State is folded from the log (`state.py`); `decide` compares what should have happened with what has and returns the
difference. Time never comes from a clock: a decision carries the time of the event that led to it, so replaying it
gives it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from schemas.base import Value
from schemas.commands import BackupVm, CreateBackfill, verb_of
from schemas.definitions import Flow, Freeze
from schemas.events import (
    BackupCancelled,
    BackupFailed,
    BackupRequested,
    BackupSkipped,
    ExcludedVm,
    ExecutionStatus,
    FlowBackfillCancelled,
    FlowBackfilling,
    FlowCancelling,
    FlowCompleted,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    PlannedBackup,
    Rejected,
    SkipReason,
    StopOrigin,
)
from schemas.ids import AD_HOC, instant
from services.catalogue import Catalogue
from services.executor.admission import Limits, admit
from services.executor.decision import Decision
from services.executor.overlap import overlap
from services.executor.plan import nothing_to_do, resolve
from services.executor.state import Cancel, Execution, State, Trigger, Wish, group_of

BATCH = 1000  # messages in one atomic batch
EXECUTION_TIMEOUT = timedelta(days=7)  # when no policy says otherwise: no execution stays running for ever

Batch = list[Decision]


def decide(state: State, *, total_limit: int | None = None) -> list[Batch]:
    """Return what is to be appended now, in order; each batch is atomic and has at most `BATCH` messages.

    `total_limit` is how many backups may be in flight over all flows.
    """
    if state.time is None:
        return []
    batches: list[Batch] = []
    begun = _answer_triggers(state, batches)
    batches += [[_answer_cancel(state, cancel)] for cancel in state.cancels.values()]
    batches += [[_answer_wish(state, wish)] for wish in state.wishes.values()]
    batches += _stops(state)
    batches += [[_complete(execution)] for execution in state.executions.values() if execution.finished]
    batches += _closings(state)
    stopping = {
        (one.event.execution_id, one.event.context_id)
        for batch in batches
        for one in batch
        if isinstance(one.event, FlowCancelling)
    }
    batches += _requests(state, begun, stopping, total_limit)
    return batches


# --- triggers ---------------------------------------------------------------------------------------------------------


class _Begun(Value, frozen=True):
    """An execution that this very decision begins, and the batch that begins it."""

    execution: Execution
    batch: Batch


def _answer_triggers(state: State, batches: list[Batch]) -> dict[str, _Begun]:
    """Add the batches that answer triggers, and return the executions that begin with them, by id."""
    begun: dict[str, _Begun] = {}
    started: Counter[str] = Counter()  # by flow, or by backfill
    waiting: Counter[str] = Counter()  # by flow: triggers that go on waiting
    behind = Counter(group_of(trigger) for trigger in state.triggers.values())
    stopped: set[str] = set()  # executions
    for trigger in state.triggers.values():
        group = group_of(trigger)
        behind[group] -= 1
        flow = state.catalogue.flows.get(trigger.flow_id)
        if no := _hopeless(state, trigger, flow):
            batches.append(no)
            continue
        running = len(state.running.get(group, ())) + started[group]
        if trigger.backfill_id is not None:
            if running >= trigger.max_concurrent:
                continue
        elif flow is not None:
            verdict = overlap(flow.overlap_policy, running=running > 0, ahead=waiting[group], behind=behind[group])
            if verdict.action == "skip":
                batches.append(_skip(state, trigger, "overlap", verdict.reason))
                continue
            if verdict.action in {"wait", "cancel"}:
                waiting[group] += 1
                if verdict.action == "cancel":
                    batches += _overtake(state, trigger, stopped)
                continue
        batch, execution = _answer(state, trigger, flow)
        batches.append(batch)
        if execution is not None:
            begun[trigger.execution_id] = _Begun(execution, batch)
            started[group] += 1
    return begun


def _hopeless(state: State, trigger: Trigger, flow: Flow | None) -> Batch | None:
    """Return the skip of a trigger that nothing can come of any more."""
    if flow is None and trigger.ad_hoc is None:
        return _skip(state, trigger, "flow_deleted", f"flow {trigger.flow_id!r} does not exist")
    if trigger.cancelled is not None:
        return _skip(state, trigger, "backfill_cancelled", trigger.cancelled)
    if trigger.late is not None:
        message = f"it still waited for another execution when its start deadline passed at {instant(trigger.late)}"
        return _skip(state, trigger, "start_deadline", message)
    return None


def _overtake(state: State, trigger: Trigger, stopped: set[str]) -> list[Batch]:
    """Return the stops of what runs, so that a newer execution of the flow can take its place."""
    running = [state.executions[id_] for id_ in sorted(state.running[trigger.flow_id] - stopped)]
    stopped.update(execution.started.execution_id for execution in running)
    reason = f"execution {trigger.execution_id} takes its place (overlap policy cancel_other)"
    return [
        [_cancelling(state, execution, "overlap", reason, cause=trigger.cause)]
        for execution in running
        if execution.stop is None
    ]


def _answer(state: State, trigger: Trigger, flow: Flow | None) -> tuple[Batch, Execution | None]:
    """Return the batch that answers a trigger whose time has come, and the execution that begins with it."""
    assert state.time is not None
    if trigger.ad_hoc is not None:
        answer = _ad_hoc(state.catalogue, trigger, trigger.ad_hoc, state.time)
        if not isinstance(answer, Flow):
            return _skip(state, trigger, *answer), None
        flow = answer
    assert flow is not None
    if frozen := _frozen(state.catalogue.freeze, trigger, state.time):
        return _skip(state, trigger, "frozen", frozen), None
    if refusal := _refusal(state.catalogue, flow, by_hand=trigger.execution_type != "scheduled"):
        return _skip(state, trigger, *refusal), None
    return _begin(state.catalogue, flow, trigger, state.time)


def _frozen(freeze: Freeze | None, trigger: Trigger, now: datetime) -> str | None:
    """Return why a scheduled execution does not begin: its occurrence, or its turn, falls into a freeze."""
    if freeze is None or trigger.execution_type != "scheduled":
        return None
    moments = (now, trigger.time, trigger.occurrence or now)
    if any(freeze.since <= moment < freeze.until for moment in moments):
        return f"no scheduled start until {instant(freeze.until)}: {freeze.reason}"
    return None


def _ad_hoc(catalogue: Catalogue, trigger: Trigger, wish: BackupVm, time: datetime) -> Flow | tuple[SkipReason, str]:
    """Return the flow that a wish for one VM stands for: over it alone, and run by hand."""
    vm, repository = catalogue.vms.get(wish.context_id), catalogue.repositories.get(wish.repository_id)
    if vm is None:
        return "target_deleted", f"VM {wish.context_id!r} does not exist"
    if repository is None:
        return "repository_deleted", f"repository {wish.repository_id!r} does not exist"
    return Flow(
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


def _refusal(catalogue: Catalogue, flow: Flow, *, by_hand: bool) -> tuple[SkipReason, str] | None:
    """Return why a flow cannot run now. Run by hand, a disabled flow runs: that is what the button is for."""
    if not flow.enabled and not by_hand:
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
    refusal = _refusal(catalogue, flow, by_hand=True)
    plan = resolve(catalogue, flow, "preview")
    return Preview(refusal=refusal[1] if refusal else None, planned=plan.planned, excluded=plan.excluded)


def _skip(state: State, trigger: Trigger, reason: SkipReason, message: str) -> Batch:
    assert state.time is not None
    event = FlowSkipped(
        flow_id=trigger.flow_id,
        execution_id=trigger.execution_id,
        execution_type=trigger.execution_type,
        occurrence=trigger.occurrence,
        reason=reason,
        message=message,
    )
    return [Decision(event=event, time=state.time, cause=trigger.cause, actor=trigger.triggered_by)]


def _begin(catalogue: Catalogue, flow: Flow, trigger: Trigger, time: datetime) -> tuple[Batch, Execution]:
    """Return the batch that starts an execution: its terms, its plan in parts; its end too when nothing is to do."""
    assert flow.repository_id is not None
    plan = resolve(catalogue, flow, trigger.execution_id, trigger.only)
    chunks = plan.parts
    schedule = catalogue.schedules.get(flow.schedule_id) if flow.schedule_id else None
    policy = catalogue.policies.get(flow.policy_id) if flow.policy_id else None
    limits = [limit for limit in (flow.max_concurrent_jobs, schedule and schedule.max_concurrent_jobs) if limit]
    patience = policy.start_deadline_seconds if policy else None
    timeout = policy.execution_timeout_seconds if policy else None
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
        jobs=len(plan.planned),
        parts=len(chunks),
        retry_of=trigger.retry_of,
        backfill_id=trigger.backfill_id,
        start_by=trigger.time + timedelta(seconds=patience) if patience else None,
        finish_by=time + (timedelta(seconds=timeout) if timeout else EXECUTION_TIMEOUT),
    )
    parts = [
        FlowPlanned(
            flow_id=flow.id,
            execution_id=trigger.execution_id,
            part=number,
            parts=len(chunks),
            backups=chunk,
            excluded=plan.excluded if number == 1 else [],
        )
        for number, chunk in enumerate(chunks, start=1)
    ]
    execution = Execution(started, time, trigger.sequence)
    execution.parts = len(parts)
    execution.waiting = {backup.backup_id: backup for backup in plan.planned}
    batch = [
        Decision(event=event, time=time, cause=trigger.cause, actor=trigger.triggered_by) for event in (started, *parts)
    ]
    if not plan.planned:
        batch.append(_complete(execution, nothing_to_do(catalogue, flow, plan)))
    return batch, execution


# --- stopping ---------------------------------------------------------------------------------------------------------


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
    reason = f"cancelled by {cancel.actor}"
    return _cancelling(
        state, execution, "asked", reason, cause=cancel.cause, actor=cancel.actor, context_id=cancel.context_id
    )


def _answer_wish(state: State, wish: Wish) -> Decision:
    """Return a backfill's beginning or end, or why there is none."""
    assert state.time is not None
    command = wish.command
    reason = None
    event: FlowBackfilling | FlowBackfillCancelled | Rejected
    if isinstance(command, CreateBackfill):
        event = FlowBackfilling(
            flow_id=command.flow_id,
            backfill_id=command.id,
            occurrences=command.occurrences,
            max_concurrent=command.max_concurrent,
        )
        if command.flow_id not in state.catalogue.flows:
            reason = f"flow {command.flow_id!r} does not exist"
    else:
        event = FlowBackfillCancelled(
            flow_id=command.flow_id, backfill_id=command.id, reason=f"backfill cancelled by {wish.actor}"
        )
        waiting = any(one.backfill_id == command.id and not one.cancelled for one in state.triggers.values())
        if not waiting and not state.running.get(command.id):
            reason = f"backfill {command.id!r} is not running: there is nothing to cancel"
    if reason is not None:
        verb = verb_of(command)
        event = Rejected(entity="backfill", verb=verb, id=command.id, code="conflict", reason=reason)
    return Decision(event=event, time=state.time, cause=wish.cause, actor=wish.actor)


def _cancelling(
    state: State,
    execution: Execution,
    origin: StopOrigin,
    reason: str,
    *,
    cause: str,
    actor: str | None = None,
    context_id: str | None = None,
) -> Decision:
    assert state.time is not None
    event = FlowCancelling(
        flow_id=execution.started.flow_id,
        execution_id=execution.started.execution_id,
        context_id=context_id,
        reason=reason,
        origin=origin,
    )
    return Decision(event=event, time=state.time, cause=cause, actor=actor)


def _open(execution: Execution) -> list[PlannedBackup]:
    return [*execution.waiting.values(), *execution.in_flight.values()]


def _stops(state: State) -> list[Batch]:
    """Return the stops of executions that took too long, or whose flow is gone."""
    batches: list[Batch] = []
    for execution in state.executions.values():
        flow_id = execution.started.flow_id
        if execution.stop is not None or execution.finished:
            continue
        if execution.overdue is not None:
            origin: StopOrigin = "timeout"
            reason = f"it had not ended by {instant(execution.overdue)}, the end of its time"
        elif execution.recalled is not None:
            origin, reason = "asked", execution.recalled
        elif flow_id not in state.catalogue.flows and flow_id != AD_HOC:
            origin, reason = "deleted", f"flow {execution.started.flow_name!r} was deleted while the execution ran"
        else:
            continue
        batches.append([_cancelling(state, execution, origin, reason, cause=execution.cause)])
    return batches


def _closings(state: State) -> list[Batch]:
    """Return the ends of backups, in executions that are to stop, that no worker has to answer for, or none will."""
    assert state.time is not None
    closings: Batch = []
    for execution in state.executions.values():
        if execution.stopping:
            ends = (_closing(execution, backup) for backup in _open(execution))
            closings += [Decision(event=end, time=state.time, cause=execution.cause) for end in ends if end is not None]
    return [closings[i : i + BATCH] for i in range(0, len(closings), BATCH)]


def _closing(execution: Execution, backup: PlannedBackup) -> BackupSkipped | BackupFailed | BackupCancelled | None:
    """Return the end of a backup that has not been begun, or whose worker is silent; None while it runs on."""
    attempt = execution.begun.get(backup.backup_id)
    stop = execution.stop_of(backup)
    if attempt is None:
        if stop is not None:
            return _skipped(execution, backup, stop.reason)
        if execution.late is not None:
            reason = f"it had not begun when the start deadline passed at {instant(execution.late)}"
            return _skipped(execution, backup, reason)
        return None
    if stop is None or not stop.forsaken:
        return None
    silent = f"{stop.reason}; its worker has not answered, so it may still be at work"
    about: dict[str, Any] = {
        "flow_id": execution.started.flow_id,
        "execution_id": execution.started.execution_id,
        "backup_id": backup.backup_id,
        "context_id": backup.context_id,
    }
    if stop.origin == "timeout":
        return BackupFailed(**about, attempt=attempt, error=silent)
    return BackupCancelled(**about, attempt=attempt, reason=silent)


def _skipped(execution: Execution, backup: PlannedBackup, reason: str) -> BackupSkipped:
    return BackupSkipped(
        flow_id=execution.started.flow_id,
        execution_id=execution.started.execution_id,
        backup_id=backup.backup_id,
        context_id=backup.context_id,
        reason=reason,
    )


# --- ends -------------------------------------------------------------------------------------------------------------


def _complete(execution: Execution, reason: str | None = None) -> Decision:
    """Return an execution's end, by the status rules of DESIGN §5, with a recount of its backups."""
    ended = execution.ended.values()
    done = [end for end in ended if end.status == "success"]
    failed = [end for end in ended if end.status == "error"]
    left = len(ended) - len(done) - len(failed)
    stop = execution.stop
    cancelled = stop is not None and stop.origin != "timeout" and left > 0
    status = _status(planned=len(ended), done=len(done), cancelled=cancelled)
    if stop is not None and (cancelled or (stop.origin == "timeout" and status != "success")):
        reason = stop.reason
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


# --- requests ---------------------------------------------------------------------------------------------------------


def _requests(
    state: State, begun: dict[str, _Begun], stopping: set[tuple[str, str | None]], total_limit: int | None
) -> list[Batch]:
    """Admit waiting backups. The first ones of an execution that begins join the batch that begins it.

    `stopping`: executions (or single VMs of them) that this very decision stops.
    """
    assert state.time is not None
    executions = [*state.executions.values(), *(one.execution for one in begun.values())]
    by_id = {execution.started.execution_id: execution for execution in executions}

    def of_repository(repository_id: str) -> int | None:
        repository = state.catalogue.repositories.get(repository_id)
        return repository.max_concurrent_jobs if repository else None

    claims = [claim for execution in executions if (claim := execution.claim(stopping))]
    limits = Limits(of_repository=of_repository, total=total_limit)
    later: list[Batch] = []
    for claim, backup in admit(claims, state.in_flight, limits, most=10 * BATCH):
        execution = by_id[claim.execution_id]
        event = _request(state.catalogue, execution, backup, state.time)
        decision = Decision(event=event, time=state.time, cause=execution.cause)
        first = begun.get(claim.execution_id)
        if first is not None and len(first.batch) < BATCH:
            first.batch.append(decision)
        else:
            if not later or len(later[-1]) >= BATCH:
                later.append([])
            later[-1].append(decision)
    return later


def _request(
    catalogue: Catalogue, execution: Execution, backup: PlannedBackup, time: datetime
) -> BackupRequested | BackupSkipped:
    """Return the request for one backup; a definition that is gone by now turns it into a skip with that reason."""
    started = execution.started
    vm = catalogue.vms.get(backup.context_id)
    repository = catalogue.repositories.get(started.repository_id)
    policy = catalogue.policies.get(started.policy_id) if started.policy_id else None
    if vm is None or repository is None or (started.policy_id and policy is None):
        gone = (("VM", vm), ("repository", repository), ("policy", policy or not started.policy_id))
        return _skipped(execution, backup, _meanwhile("deleted", (name for name, it in gone if not it)))
    if not vm.enabled or not repository.enabled:
        off = (("VM", vm.enabled), ("repository", repository.enabled))
        return _skipped(execution, backup, _meanwhile("disabled", (name for name, it in off if not it)))
    return BackupRequested(
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


def _meanwhile(what: str, names: Iterable[str]) -> str:
    return f"{' and '.join(f'the {name}' for name in names)} was {what} while the execution ran"
