"""How executions are stopped, and how their backups end: those that wait, and those whose worker is silent. Pure."""

from collections.abc import Container
from datetime import datetime
from operator import attrgetter

from schemas.base import brief
from schemas.commands import CreateBackfill, verb_of
from schemas.definitions import Entity
from schemas.events import (
    BackupCancelled,
    BackupFailed,
    BackupSkipped,
    FlowBackfillCancelled,
    FlowBackfilling,
    FlowCancelling,
    FlowStarted,
    PlannedBackup,
    Rejected,
    StopOrigin,
)
from schemas.ids import AD_HOC, instant
from services.decision import LIMIT, Batch, Decision
from services.executor.execution import Execution
from services.executor.pending import PendingBackfill, PendingCancel, Trigger
from services.executor.state import State


def decide_cancel(state: State, cancel: PendingCancel) -> Decision:
    """Return that an execution, or one VM of it, is to stop, or why there is nothing to stop.

    One that waits for its turn is to stop too: then its turn does not come.
    """
    assert state.time is not None
    execution = state.executions.get(cancel.execution_id)
    trigger = state.triggers.get(cancel.execution_id)
    whole = cancel.context_id is None
    which: FlowStarted | Trigger | None = None
    if execution is not None and (whole or cancel.open):
        which = execution.started
    elif trigger is not None and whole and trigger.buffered:
        which = trigger
    if which is None:
        what = f"execution {cancel.execution_id!r}"
        what = what if whole or execution is None else f"the backup of VM {cancel.context_id!r} in {what}"
        rejected = Rejected(
            entity="execution",
            verb="cancel",
            id=cancel.execution_id,
            code="conflict",
            reason=f"{what} is not running: there is nothing to cancel",
        )
        return Decision(event=rejected, time=state.time, cause=cancel.cause, actor=cancel.actor)
    reason = f"cancelled by {cancel.actor}"
    return cancelling(
        state, which, "asked", reason, cause=cancel.cause, actor=cancel.actor, context_id=cancel.context_id
    )


def decide_backfill(state: State, pending: PendingBackfill) -> Decision:
    """Return that a backfill begins or is cancelled, or why it is not."""
    assert state.time is not None
    command = pending.command
    reason = None
    event: FlowBackfilling | FlowBackfillCancelled | Rejected
    if isinstance(command, CreateBackfill):
        event = FlowBackfilling(
            flow_id=command.flow_id,
            backfill_id=command.id,
            occurrences=command.occurrences,
            max_concurrent=command.max_concurrent,
        )
        if not pending.flow_known:
            reason = f"flow {command.flow_id!r} does not exist"
    else:
        event = FlowBackfillCancelled(
            flow_id=command.flow_id, backfill_id=command.id, reason=f"backfill cancelled by {pending.actor}"
        )
        triggers = [
            one.flow_id for one in state.triggers.values() if one.backfill_id == command.id and not one.cancelled
        ]
        running = [state.executions[id_].started.flow_id for id_ in state.running.get(command.id, ())]
        if command.flow_id not in (*triggers, *running):
            reason = f"backfill {command.id!r} of flow {command.flow_id!r} is not running: there is nothing to cancel"
    if reason is not None:
        verb = verb_of(command)
        event = Rejected(entity="backfill", verb=verb, id=command.id, code="conflict", reason=reason)
    return Decision(event=event, time=state.time, cause=pending.cause, actor=pending.actor)


def reject(state: State, pending: PendingCancel | PendingBackfill, reason: str) -> Decision:
    """Return the rejection of a command that cannot be decided."""
    assert state.time is not None
    if isinstance(pending, PendingCancel):
        entity: Entity = "execution"
        verb, id_ = "cancel", pending.execution_id
    else:
        entity, verb, id_ = "backfill", verb_of(pending.command), pending.command.id
    why = f"it cannot be decided: {reason}"
    rejected = Rejected(entity=entity, verb=verb, id=id_, code="invalid", reason=why)
    return Decision(event=rejected, time=state.time, cause=pending.cause, actor=pending.actor)


def cancelling(
    state: State,
    which: FlowStarted | Trigger,
    origin: StopOrigin,
    reason: str,
    *,
    cause: str,
    actor: str | None = None,
    context_id: str | None = None,
) -> Decision:
    """Return the event that an execution, or one VM of it, is to stop."""
    assert state.time is not None
    event = FlowCancelling(
        flow_id=which.flow_id,
        execution_id=which.execution_id,
        context_id=context_id,
        reason=reason,
        origin=origin,
    )
    return Decision(event=event, time=state.time, cause=cause, actor=actor)


def _open(execution: Execution) -> list[PlannedBackup]:
    return [*execution.waiting.values(), *execution.in_flight.values()]


def stops(state: State, stopping: Container[tuple[str, str | None]]) -> list[Batch]:
    """Return the stops of executions that took too long, or whose flow is gone. `stopping`: what stops already."""

    def stop(execution: Execution) -> Batch:
        flow_id = execution.started.flow_id
        if execution.stop is not None or execution.finished or (execution.started.execution_id, None) in stopping:
            return []
        if execution.overdue is not None:
            origin: StopOrigin = "timeout"
            reason = f"it had not ended by {instant(execution.overdue)}, the end of its time"
        elif execution.backfill_cancelled is not None:
            origin, reason = "asked", execution.backfill_cancelled
        elif flow_id not in state.catalogue.flows and flow_id != AD_HOC:
            origin, reason = "deleted", f"flow {execution.started.flow_name!r} was deleted while the execution ran"
        else:
            return []
        return [cancelling(state, execution.started, origin, reason, cause=execution.cause)]

    batches = state.set_aside.decide(state.executions.values(), stop, sequence=attrgetter("sequence"))
    return [batch for batch in batches if batch]


def closings(state: State) -> list[Batch]:
    """Return the ends of backups that are to stop and have no worker, or one that is silent."""
    assert state.time is not None
    time = state.time

    def close(execution: Execution) -> Batch:
        ends = (_closing(execution, backup) for backup in _open(execution))
        return [_close(execution, end, time) for end in ends if end is not None]

    stopping = [execution for execution in state.executions.values() if execution.stopping]
    closed = state.set_aside.decide(stopping, close, sequence=attrgetter("sequence"))
    closings = [decision for batch in closed for decision in batch]
    return [closings[i : i + LIMIT] for i in range(0, len(closings), LIMIT)]


def _close(execution: Execution, end: BackupSkipped | BackupFailed | BackupCancelled, time: datetime) -> Decision:
    # the id in the table is the worker's, which may still report this end
    name = None if isinstance(end, BackupSkipped) else f"closed:{end.backup_id}"
    return Decision(event=end, time=time, cause=execution.cause, name=name)


def _closing(execution: Execution, backup: PlannedBackup) -> BackupSkipped | BackupFailed | BackupCancelled | None:
    """Return the end of a backup that has not been begun, or whose worker is silent; None while it runs on."""
    attempt = execution.begun.get(backup.backup_id)
    stop = execution.stop_of(backup)
    if attempt is None:
        if stop is not None:
            return skipped(execution, backup, stop.reason)
        if execution.late is not None:
            reason = f"it had not begun when the start deadline passed at {instant(execution.late)}"
            return skipped(execution, backup, reason)
        return None
    if stop is None or not stop.worker_silent:
        return None
    silent = f"{brief(stop.reason)}; its worker has not answered, so it may still be at work"
    which = execution.backup(backup)
    if stop.origin == "timeout":
        return BackupFailed.of(which, attempt=attempt, error=silent)
    return BackupCancelled.of(which, attempt=attempt, reason=silent)


def skipped(execution: Execution, backup: PlannedBackup, reason: str) -> BackupSkipped:
    """Return the event that a planned VM will not be backed up."""
    return BackupSkipped.of(execution.backup(backup), reason=reason)
