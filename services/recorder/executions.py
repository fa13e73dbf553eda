"""Executions: their rows, their plans, and the statistics of their flows. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import structs

from bus.envelope import Envelope, Stored
from schemas import tables as t
from schemas.events import FlowBuffered, FlowCompleted, FlowPlanned, FlowSkipped, FlowStarted
from schemas.ids import AD_HOC
from services.recorder.changes import Changes, Unprojectable, execution_of, fitting
from services.recorder.commands import record_outcome
from services.recorder.known import KnownExecution, Row


def project_buffering(changes: Changes, entry: Stored, event: FlowBuffered) -> None:
    """Make the row of an execution that waits for its turn: `pending`, without a start and without jobs."""
    identity = f"buffered/{event.execution_id}"
    if identity in changes.known.identities:
        raise Unprojectable("repeated", f"execution {event.execution_id} waits already")
    _once(changes, event)
    _check_flow(changes, event)
    values = {"priority": event.priority, "retry_of": event.retry_of}
    row = fitting(t.executions, {**_row(entry, event), **values})
    record_outcome(changes, entry)
    changes.identify(identity)
    if event.flow_id in changes.known.flows:
        _insert(changes, event, row)


def project_skip(changes: Changes, entry: Stored, event: FlowSkipped) -> None:
    """End an execution that waited; one that never did has no row."""
    identity = _once(changes, event)
    waiting = changes.known.executions.get(event.execution_id)
    if waiting is not None:
        change = {"status": "cancelled", "completed_at": entry.envelope.time, "error_message": event.message}
        _change_execution(changes, event.execution_id, fitting(t.executions, change))
        waiting.ended = True
    record_outcome(changes, entry)
    changes.identify(identity)


def project_start(changes: Changes, entry: Stored, event: FlowStarted) -> None:
    known, sent = changes.known, entry.envelope
    identity = _once(changes, event)
    _check_flow(changes, event)
    values: Row = {
        "status": "running",
        "started_at": sent.time,
        "repository_id": event.repository_id,
        "policy_id": event.policy_id,
        "retry_of": event.retry_of,
        "backfill_id": event.backfill_id,
        "priority": event.priority,
        "max_concurrent_jobs": event.max_concurrent_jobs,
        "jobs_created": event.jobs,
    }
    row = fitting(t.executions, {**_row(entry, event), **values})
    record_outcome(changes, entry)
    changes.identify(identity)
    if event.flow_id != AD_HOC and event.flow_id not in known.flows:
        return  # it was deleted in the very moment in which the execution began
    waiting = known.executions.get(event.execution_id)
    if waiting is not None:
        waiting.started_at = sent.time
        _change_execution(changes, event.execution_id, {"flow_name": event.flow_name, **values})
    else:
        _insert(changes, event, row)
    changes.flow_changes.setdefault(event.flow_id, {}).update(
        last_execution_id=event.execution_id, last_execution_status="running", last_execution_time=sent.time
    )


def _row(entry: Stored, event: FlowBuffered | FlowStarted) -> Row:
    """Return what every row of an execution begins with."""
    return {
        "id": event.execution_id,
        "flow_id": None if event.flow_id == AD_HOC else event.flow_id,
        "flow_name": event.flow_name,
        "status": "pending",
        "execution_type": event.execution_type,
        "triggered_by": event.triggered_by,
        "occurrence": event.occurrence,
        "created_at": entry.envelope.time,
        "started_at": None,
        "completed_at": None,
        "repository_id": None,
        "policy_id": None,
        "retry_of": None,
        "backfill_id": None,
        "priority": 0,
        "max_concurrent_jobs": None,
        "jobs_created": 0,
        "jobs_completed": 0,
        "jobs_failed": 0,
        "jobs_skipped": 0,
        "vms_processed": 0,
        "execution_time_seconds": None,
        "bytes_transferred": 0,
        "error_message": None,
        "excluded": [],
        "created_job_ids": [],
    }


def _insert(changes: Changes, event: FlowBuffered | FlowStarted, row: Row) -> None:
    changes.known.executions[event.execution_id] = KnownExecution(
        flow_id=event.flow_id, started_at=row["started_at"], ended=False
    )
    changes.new_executions[event.execution_id] = row


def _check_flow(changes: Changes, event: FlowBuffered | FlowStarted) -> None:
    """Raise `Unprojectable` when an execution is of a flow that never was."""
    if event.flow_id != AD_HOC and f"flow/{event.flow_id}" not in changes.known.identities:
        raise Unprojectable("unusable", f"there has never been a flow {event.flow_id}")


def project_plan(changes: Changes, sent: Envelope, event: FlowPlanned) -> None:
    execution = execution_of(changes, event)
    if execution is None:
        return
    identity = f"plan/{event.execution_id}/{event.part}"
    if identity in changes.known.identities:
        raise Unprojectable(
            "repeated", f"part {event.part} of the plan of execution {event.execution_id} is there already"
        )
    offset = (event.part - 1) * 1_000_000  # positions need only be in order
    rows: list[Row] = [
        {
            "id": backup.backup_id,
            "execution_id": event.execution_id,
            "position": offset + number,
            "context_id": backup.context_id,
            "vm_name": backup.vm_name,
            "repository_id": None,
            "status": "pending",
            "attempt": 0,
            "round": 0,
            "worker": None,
            "progress_percent": 0,
            "bytes_read": 0,
            "bytes_transferred": 0,
            "created_at": sent.time,
            "requested_at": None,
            "started_at": None,
            "completed_at": None,
            "error_message": None,
            "first_error": None,
            "disks_count": 0,
            "worker_labels": {},
            "snapshot_ref": None,
        }
        for number, backup in enumerate(event.backups)
    ]
    for row in rows:
        fitting(t.backup_jobs, {name: row[name] for name in ("position", "vm_name", "created_at")})
    if event.excluded:
        excluded = [structs.asdict(vm) for vm in event.excluded]
        fitting(t.executions, {"excluded": excluded})
        _change_execution(changes, event.execution_id, {"excluded": excluded})
    execution.job_ids = [*execution.job_ids, *(row["id"] for row in rows)]
    _change_execution(changes, event.execution_id, {"created_job_ids": execution.job_ids})
    for row in rows:
        key = event.execution_id, row["id"]
        if key not in changes.known.jobs:
            changes.known.jobs[key] = changes.new_jobs[key] = row
    changes.identify(identity)


def project_completion(changes: Changes, event: FlowCompleted) -> None:
    execution = execution_of(changes, event)
    if execution is None:
        return
    if execution.ended:
        raise Unprojectable("repeated", f"execution {event.execution_id} has completed before")
    began = execution.started_at
    taken = None if began is None else max(0.0, (event.completed_at - began).total_seconds())
    change = {
        "status": event.status,
        "completed_at": event.completed_at,
        "jobs_created": event.jobs_created,
        "jobs_completed": event.jobs_completed,
        "jobs_failed": event.jobs_failed,
        "jobs_skipped": event.jobs_skipped,
        "vms_processed": event.jobs_completed + event.jobs_failed,
        "execution_time_seconds": taken,
        "bytes_transferred": event.bytes_transferred,
        "error_message": event.error_message,
    }
    _change_execution(changes, event.execution_id, fitting(t.executions, change))
    execution.ended = True
    changes.flow_ends.append(
        {
            "flow_id": execution.flow_id,
            "execution_id": event.execution_id,
            "status": event.status,
            "ok": int(event.status in {"success", "warning"}),
            "failed": int(event.status == "error"),
        }
    )


def project_occurrence(changes: Changes, flow_id: str, at: datetime) -> None:
    """Note the newest occurrence of a flow that has its outcome. What was before the flow is said of another one."""
    flow = changes.known.flows.get(flow_id)
    if flow is None or at <= max(flow.armed_at, flow.last_occurrence or at.min.replace(tzinfo=UTC)):
        return
    changes.flow_changes.setdefault(flow_id, {}).update(fitting(t.protection_flows, {"last_occurrence": at}))
    flow.last_occurrence = at


def _once(changes: Changes, event: FlowBuffered | FlowStarted | FlowSkipped) -> str:
    """Return the identity of an execution that begins or is skipped. Raises `Unprojectable` when it did so before."""
    identity = f"execution/{event.execution_id}"
    if identity in changes.known.identities:
        raise Unprojectable("repeated", f"execution {event.execution_id} has begun or been skipped before")
    return identity


def _change_execution(changes: Changes, id_: str, values: Row) -> None:
    row = changes.new_executions.get(id_)
    if row is None:
        row = changes.execution_changes.setdefault(id_, {})
    row.update(values)
