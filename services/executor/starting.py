"""How executions begin: each trigger starts an execution, is skipped with a reason, or waits. Pure."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from operator import attrgetter

from schemas.base import MOST, Value, after
from schemas.commands import BackupVm
from schemas.definitions import Flow, Freeze, Group
from schemas.events import (
    ExcludedVm,
    FlowBuffered,
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
from services.executor.execution import Execution
from services.executor.overlap import OverlapDecision, in_backfill, overlap
from services.executor.pending import Trigger, group_of
from services.executor.plan import Plan, nothing_to_do, resolve
from services.executor.state import State
from services.executor.stopping import cancelling

EXECUTION_TIMEOUT = timedelta(days=7)  # when no policy says otherwise: no execution stays running for ever


class TriggerDecision(Value, frozen=True):
    """What is decided about a trigger, in one batch. `execution`: the one that begins, folded from that batch."""

    batch: Batch
    execution: Execution | None = None


def decide_triggers(state: State) -> list[TriggerDecision]:
    """Return what is decided now about pending triggers; about those that go on waiting, that they do, once."""
    buffers: dict[str, list[Trigger]] = {}  # by flow, or by backfill
    for trigger in state.triggers.values():
        buffers.setdefault(group_of(trigger), []).append(trigger)
    return [decided for group, triggers in buffers.items() for decided in _decide_group(state, group, triggers)]


def _decide_group(state: State, group: str, triggers: Sequence[Trigger]) -> Iterator[TriggerDecision]:
    flow = state.catalogue.flows.get(triggers[0].flow_id)
    waiting: list[Trigger] = []
    for trigger in triggers:
        if refusal := _final_refusal(trigger, flow):
            yield TriggerDecision(_skip(state, trigger, *refusal))
        else:
            waiting.append(trigger)
    refusals = state.set_aside.decide(
        waiting,
        lambda trigger: _trigger_refusal(state, trigger, flow),
        sequence=attrgetter("sequence"),
        instead=lambda _, reason: _undecidable(reason),
    )
    decisions = _overlap_decisions(state, group, waiting, flow, [refusal is None for refusal in refusals])
    ahead = set(state.running.get(group, ()))
    for trigger, decision, refusal in zip(waiting, decisions, refusals, strict=True):
        match decision.action:
            case "skip":
                yield TriggerDecision(_skip(state, trigger, "overlap", decision.reason))
            case "start" if refusal is not None:
                yield TriggerDecision(_skip(state, trigger, *refusal))
            case "start":
                begun = state.set_aside.decide(
                    [trigger],
                    lambda one: _begin(state, one, _flow_of(state, one, flow)),
                    sequence=attrgetter("sequence"),
                    instead=lambda one, reason: TriggerDecision(_skip(state, one, *_undecidable(reason))),
                )
                ahead |= {one.execution.started.execution_id for one in begun if one.execution is not None}
                yield from begun
            case "cancel":
                yield from _overtake(state, trigger)
                yield from _buffer(state, trigger, flow, ahead)
            case "wait":
                yield from _buffer(state, trigger, flow, ahead)


def _overlap_decisions(
    state: State, group: str, waiting: Sequence[Trigger], flow: Flow | None, would_run: Sequence[bool]
) -> Sequence[OverlapDecision]:
    running = len(state.running.get(group, ()))
    if not waiting:
        return []
    if waiting[0].backfill_id is not None:
        return in_backfill(waiting[0].max_concurrent, running=running, waiting=would_run)
    policy = "allow" if flow is None else flow.overlap_policy  # backups outside any flow do not overlap
    return overlap(policy, running=running > 0, waiting=would_run)


Refusal = tuple[SkipReason, str]


def _undecidable(reason: str) -> Refusal:
    return "unsupported", f"it cannot be decided: {reason}"


def _final_refusal(trigger: Trigger, flow: Flow | None) -> Refusal | None:
    """Return why a trigger is skipped now, without waiting for its turn."""
    if flow is None and trigger.ad_hoc is None:
        return "flow_deleted", f"flow {trigger.flow_id!r} does not exist"
    if trigger.outdated:
        message = "its schedule had been changed, or the flow disabled, before its scheduler said that it is due"
        return "definition_changed", message
    if trigger.cancelled is not None:
        return "cancelled" if trigger.backfill_id is None else "backfill_cancelled", trigger.cancelled
    if trigger.late is not None:
        message = f"it still waited for another execution when its start deadline passed at {instant(trigger.late)}"
        return "start_deadline", message
    return None


def _overtake(state: State, trigger: Trigger) -> Iterator[TriggerDecision]:
    """Yield the stops of what runs, so that a newer execution of the flow can take its place."""
    reason = f"execution {trigger.execution_id} takes its place (overlap policy cancel_other)"
    for id_ in sorted(state.running[trigger.flow_id]):
        execution = state.executions[id_]
        if execution.stop is None:
            yield TriggerDecision([cancelling(state, execution.started, "overlap", reason, cause=trigger.cause)])


def _buffer(state: State, trigger: Trigger, flow: Flow | None, ahead: Collection[str]) -> Iterator[TriggerDecision]:
    """Yield that a trigger waits for the executions `ahead`, unless the log says so already.

    Of a backfill the log has what waits, and how many may run at once.
    """
    assert state.time is not None
    if trigger.buffered or trigger.backfill_id is not None or flow is None:
        return
    event = FlowBuffered(
        flow_id=trigger.flow_id,
        execution_id=trigger.execution_id,
        flow_name=flow.name,
        execution_type=trigger.execution_type,
        triggered_by=trigger.triggered_by,
        occurrence=trigger.occurrence,
        overlap_policy=flow.overlap_policy,
        priority=flow.priority,
        waiting_for=sorted(ahead)[:MOST],
        retry_of=trigger.retry_of,
    )
    yield TriggerDecision([Decision(event=event, time=state.time, cause=trigger.cause, actor=trigger.triggered_by)])


def _trigger_refusal(state: State, trigger: Trigger, flow: Flow | None) -> Refusal | None:
    """Return why a trigger would start no execution if its turn came now."""
    assert state.time is not None
    if trigger.ad_hoc is not None:
        return _missing(state.catalogue, trigger.ad_hoc)
    assert flow is not None
    if frozen := _frozen(state.catalogue.freeze, trigger, state.time):
        return "frozen", frozen
    return _flow_refusal(state.catalogue, flow, by_hand=trigger.execution_type != "scheduled")


def _frozen(freeze: Freeze | None, trigger: Trigger, now: datetime) -> str | None:
    """Return why a scheduled execution does not begin: its occurrence, or its turn, is within a freeze."""
    if freeze is None or trigger.execution_type != "scheduled":
        return None
    moments = (now, trigger.time, trigger.occurrence or now)
    if any(freeze.since <= moment < freeze.until for moment in moments):
        return f"no scheduled start until {instant(freeze.until)}: {freeze.reason}"
    return None


def _missing(catalogue: Catalogue, command: BackupVm) -> Refusal | None:
    if command.context_id not in catalogue.vms:
        return "target_deleted", f"VM {command.context_id!r} does not exist"
    if command.repository_id not in catalogue.repositories:
        return "repository_deleted", f"repository {command.repository_id!r} does not exist"
    return None


def _flow_of(state: State, trigger: Trigger, flow: Flow | None) -> Flow:
    """Return the flow that a trigger runs; for a backup outside any flow, a flow of that one VM."""
    assert state.time is not None
    if trigger.ad_hoc is None:
        assert flow is not None
        return flow
    command, catalogue = trigger.ad_hoc, state.catalogue
    return Flow(
        id=AD_HOC,
        name=f"ad hoc: {catalogue.vms[command.context_id].vm_name}",
        flow_type="backup",
        target_type="vm",
        target_id=command.context_id,
        repository_id=command.repository_id,
        policy_id=command.policy_id if command.policy_id in catalogue.policies else None,
        version=1,
        created_at=state.time,
        updated_at=state.time,
        created_by=trigger.triggered_by,
        armed_at=state.time,
    )


def _flow_refusal(catalogue: Catalogue, flow: Flow, *, by_hand: bool) -> Refusal | None:
    """Return why a flow cannot run now. A disabled flow can be run by hand."""
    if not flow.enabled and not by_hand:
        return "flow_disabled", f"flow {flow.name!r} is disabled"
    if flow.flow_type != "backup" or flow.repository_id is None:
        return "unsupported", f"flow {flow.name!r} is a {flow.flow_type} flow; only backup flows are executed"
    target = (catalogue.groups if flow.target_type == "group" else catalogue.vms).get(flow.target_id)
    if target is None:
        return "target_deleted", f"{flow.target_type} {flow.target_id!r} does not exist"
    if isinstance(target, Group) and not target.enabled:
        return "target_disabled", f"group {target.name!r} is disabled"
    repository = catalogue.repositories.get(flow.repository_id)
    if repository is None:
        return "repository_deleted", f"repository {flow.repository_id!r} does not exist"
    if not repository.enabled:
        return "repository_disabled", f"repository {repository.name!r} is disabled"
    policy = catalogue.policies.get(flow.policy_id) if flow.policy_id is not None else None
    if flow.policy_id is not None and policy is None:
        return "policy_disabled", f"policy {flow.policy_id!r} does not exist"
    if policy is not None and not policy.enabled:
        return "policy_disabled", f"policy {policy.name!r} is disabled"
    return None


class Preview(Value, frozen=True, kw_only=True):
    """What running a flow by hand would do now: why it would not run, or which VMs are planned and excluded."""

    refusal: str | None
    planned: list[PlannedBackup]
    excluded: list[ExcludedVm]


def preview(catalogue: Catalogue, flow: Flow) -> Preview:
    """Return what the executor would decide about a flow run by hand."""
    refusal = _flow_refusal(catalogue, flow, by_hand=True)
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


def _begin(state: State, trigger: Trigger, flow: Flow) -> TriggerDecision:
    """Return the start of an execution: its terms and its plan in parts; its end too when there is nothing to do."""
    assert state.time is not None
    catalogue, time = state.catalogue, state.time
    plan = resolve(catalogue, flow, trigger.execution_id, trigger.only)
    started = _terms(catalogue, flow, trigger, plan, time)
    parts = [
        FlowPlanned(
            flow_id=flow.id,
            execution_id=trigger.execution_id,
            part=number,
            parts=started.parts,
            backups=backups,
            excluded=plan.excluded if number == 1 else [],
        )
        for number, backups in enumerate(plan.parts, start=1)
    ]
    execution = Execution(started, time, trigger.sequence)
    for part in parts:
        execution.plan(part)
    batch = [
        Decision(event=event, time=time, cause=trigger.cause, actor=trigger.triggered_by) for event in (started, *parts)
    ]
    end = [] if plan.planned else [complete(execution, nothing_to_do(catalogue, flow, plan))]
    return TriggerDecision([*batch, *end], execution)


def _terms(catalogue: Catalogue, flow: Flow, trigger: Trigger, plan: Plan, time: datetime) -> FlowStarted:
    """Return the terms of an execution that begins; later changes of definitions do not affect them."""
    assert flow.repository_id is not None
    schedule = catalogue.schedules.get(flow.schedule_id) if flow.schedule_id else None
    policy = catalogue.policies.get(flow.policy_id) if flow.policy_id else None
    limits = [limit for limit in (flow.max_concurrent_jobs, schedule and schedule.max_concurrent_jobs) if limit]
    patience = policy.start_deadline_seconds if policy else None
    timeout = policy.execution_timeout_seconds if policy else None
    return FlowStarted(
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
        parts=len(plan.parts),
        retry_of=trigger.retry_of,
        backfill_id=trigger.backfill_id,
        start_by=after(trigger.time, timedelta(seconds=patience)) if patience else None,
        finish_by=after(time, timedelta(seconds=timeout) if timeout else EXECUTION_TIMEOUT),
    )
