"""Backups: the table `backup_jobs`. Pure."""

from __future__ import annotations

from bus.envelope import Envelope
from schemas import tables as t
from schemas.events import (
    AttemptEvent,
    BackupCancelled,
    BackupCompleted,
    BackupEvent,
    BackupFailed,
    BackupProgressed,
    BackupRequested,
    BackupRetrying,
    BackupSkipped,
    BackupStarted,
    BackupStatus,
)
from services.recorder.changes import Changes, Unprojectable, execution_of, fitting
from services.recorder.known import Row


def project_backup(changes: Changes, sent: Envelope, event: BackupEvent) -> None:
    """Change a job's row, unless it has ended, or a newer attempt has begun: then a straggler changes nothing."""
    key = event.execution_id, event.backup_id
    job = changes.known.jobs.get(key)
    if job is None:
        if execution_of(changes, event) is not None:
            raise Unprojectable("unusable", f"backup {event.backup_id} is in no plan of execution {event.execution_id}")
        return
    if error := _repeated(job, event):
        raise Unprojectable("repeated", error)
    if job["completed_at"] is not None or _is_late(job, event):
        return
    values = _row_of(sent, event)
    if not values:
        return
    if isinstance(event, AttemptEvent):
        values["attempt"] = event.attempt
    if job["first_error"] is not None:
        values.pop("first_error", None)
    fitting(t.backup_jobs, values)
    job.update(values)
    if key not in changes.new_jobs:
        changes.job_changes.setdefault(event.backup_id, {}).update(values)


def _is_late(job: Row, event: BackupEvent) -> bool:
    """Tell whether more is known already: of a newer attempt, or of this one's progress."""
    if not isinstance(event, AttemptEvent) or event.attempt > job["attempt"]:
        return False
    return event.attempt < job["attempt"] or (
        isinstance(event, BackupProgressed) and event.percent <= job["progress_percent"]
    )


def _repeated(job: Row, event: BackupEvent) -> str | None:
    """Return why an event is a repetition, None when it is new, or late."""
    match event:
        case BackupRequested() if event.round <= job["round"]:
            return f"backup {event.backup_id} has been requested in round {job['round']} before"
        case BackupStarted() if event.attempt == job["attempt"]:
            return f"attempt {event.attempt} at backup {event.backup_id} has begun before"
        case BackupRetrying() if event.attempt == job["attempt"] and job["status"] == "queued":
            return f"attempt {event.attempt} at backup {event.backup_id} has failed before"
        case BackupCompleted() | BackupFailed() | BackupCancelled() if event.attempt == job["attempt"]:
            same = job["completed_at"] is not None and job["status"] == _END[type(event)]
        case BackupSkipped():
            same = job["status"] == "skipped"
        case _:
            same = False
    return f"backup {event.backup_id} has ended before, as {job['status']}" if same else None


_END: dict[type[BackupEvent], BackupStatus] = {
    BackupCompleted: "success",
    BackupFailed: "error",
    BackupCancelled: "cancelled",
    BackupSkipped: "skipped",
}


def _row_of(sent: Envelope, event: BackupEvent) -> Row:
    """Return what an event changes in its job's row."""
    match event:
        case BackupRequested():
            return {
                "status": "queued",
                "round": event.round,
                "requested_at": sent.time,
                "repository_id": event.repository_id,
                "disks_count": len(event.disks),
                "worker_labels": event.worker_labels,
            }
        case BackupStarted():
            return {
                "status": "running",
                "worker": event.worker,
                "started_at": sent.time,
                "progress_percent": 0,
                "bytes_read": 0,
                "bytes_transferred": 0,
            }
        case BackupProgressed():
            return {
                "progress_percent": event.percent,
                "bytes_read": event.bytes_read,
                "bytes_transferred": event.bytes_transferred,
            }
        case BackupRetrying():
            return {"status": "queued", "error_message": event.error, "first_error": event.error}
        case BackupCompleted():
            return {
                "completed_at": sent.time,
                "status": "success",
                "progress_percent": 100,
                "bytes_read": event.bytes_read,
                "bytes_transferred": event.bytes_transferred,
                "snapshot_ref": event.snapshot_ref,
                "error_message": None,
            }
        case BackupFailed():
            return {
                "completed_at": sent.time,
                "status": "error",
                "error_message": event.error,
                "first_error": event.error,
            }
        case BackupCancelled() | BackupSkipped():
            return {"completed_at": sent.time, "status": _END[type(event)], "error_message": event.reason}
        case _:
            return {}
