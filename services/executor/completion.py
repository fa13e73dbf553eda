"""How an execution ends: its status, with a recount of its backups (docs/executions.md). Pure."""

from schemas.base import LARGEST_INTEGER, brief
from schemas.events import (
    ExecutionStatus,
    FlowCompleted,
)
from services.decision import Decision
from services.executor.execution import Execution


def complete(execution: Execution, reason: str | None = None) -> Decision:
    """Return an execution's end with a recount of its backups.

    It is `success` when every backup succeeded, `warning` when some did or none was planned, `error` when none did, and
    `cancelled` when it was cancelled before all had ended.
    """
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
        reason = f"{len(ended) - len(done)} of {len(ended)} backups did not succeed; the first: {brief(str(first))}"
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
        bytes_transferred=min(sum(end.bytes_transferred for end in ended), LARGEST_INTEGER),
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
