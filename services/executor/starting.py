"""How executions begin: each trigger is answered with a start, a skip with its reason, or not yet. Pure."""

from collections import Counter
from datetime import datetime, timedelta

from schemas.base import Value
from schemas.commands import BackupVm
from schemas.definitions import Flow, Freeze
from schemas.events import (
    ExcludedVm,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    PlannedBackup,
    SkipReason,
)
from schemas.ids import AD_HOC, instant
from services.catalogue import Catalogue
from services.decision import Batch, Decision
from services.executor.completion import complete
from services.executor.overlap import overlap
from services.executor.plan import nothing_to_do, resolve
from services.executor.state import Execution, State, Trigger, group_of
from services.executor.stopping import cancelling

EXECUTION_TIMEOUT = timedelta(days=7)  # when no policy says otherwise: no execution stays running for ever


class Begun(Value, frozen=True):
    """An execution that this very decision begins, and the batch that begins it."""

    execution: Execution
    batch: Batch


def answer_triggers(state: State, batches: list[Batch]) -> dict[str, Begun]:
    """Add the batches that answer triggers, and return the executions that begin with them, by id."""
    begun: dict[str, Begun] = {}
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
            begun[trigger.execution_id] = Begun(execution, batch)
            started[group] += 1
    return begun


def _hopeless(state: State, trigger: Trigger, flow: Flow | None) -> Batch | None:
    """Return the skip of a trigger that nothing can come of any more."""
    if flow is None and trigger.ad_hoc is None:
        return _skip(state, trigger, "flow_deleted", f"flow {trigger.flow_id!r} does not exist")
    if trigger.outdated:
        message = "its schedule had been changed, or the flow disabled, before its scheduler said that it is due"
        return _skip(state, trigger, "definition_changed", message)
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
        [cancelling(state, execution, "overlap", reason, cause=trigger.cause)]
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
    execution.parts = {part.part for part in parts}
    execution.waiting = {backup.backup_id: backup for backup in plan.planned}
    batch = [
        Decision(event=event, time=time, cause=trigger.cause, actor=trigger.triggered_by) for event in (started, *parts)
    ]
    if not plan.planned:
        batch.append(complete(execution, nothing_to_do(catalogue, flow, plan)))
    return batch, execution
