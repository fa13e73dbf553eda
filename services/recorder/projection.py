"""The projection: what each event means for the tables. Pure: entries in, changes of rows out.

Changes are gathered per row over a batch of events, so that a batch becomes a few statements for many rows. `store.py`
applies them, in the order of the fields of `Changes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from msgspec import structs, to_builtins
from sqlalchemy import Table

from bus.envelope import Entry, Envelope, Stored
from schemas import tables as t
from schemas.commands import Command, PruneHistory, entity_of, verb_of
from schemas.definitions import Definition, Group, Kind, ScheduleSpec, VmSpec
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
    Defined,
    FlowBackfillCancelled,
    FlowBackfilling,
    FlowCancelling,
    FlowCompleted,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    FreezeDefined,
    Rejected,
)
from schemas.ids import AD_HOC
from services.catalogue import kind_of

Row = dict[str, Any]

TABLE_OF: dict[Kind, Table] = {
    "vm": t.vms,
    "group": t.machine_groups,
    "schedule": t.schedules,
    "repository": t.repositories,
    "policy": t.policies,
    "flow": t.protection_flows,
}


class Changes:
    """What a batch of events changes. Rows are dicts by column name."""

    def __init__(self) -> None:
        self.events: list[Row] = []
        self.definitions: list[tuple[Table, str, Row | None, list[Row]]] = []  # table, id, row (None: gone), members
        self.new_executions: dict[str, Row] = {}
        self.new_jobs: dict[str, Row] = {}
        self.job_changes: dict[tuple[str, int], Row] = {}  # by backup and attempt (0: of no attempt)
        self.attempts: dict[str, int] = {}  # by backup: the latest attempt seen
        self.execution_changes: dict[str, Row] = {}
        self.flow_changes: dict[str, Row] = {}
        self.flow_ends: list[Row] = []  # flow_id, execution_id, status, ok (0 or 1)
        self.new_commands: dict[str, Row] = {}
        self.answers: dict[str, Row] = {}
        self.prune_before: datetime | None = None


def batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Yield the entries so that what prunes is the last of its batch: what comes after it is not pruned."""
    start = 0
    for number, entry in enumerate(entries, start=1):
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, PruneHistory):
            yield list(entries[start:number])
            start = number
    if start < len(entries):
        yield list(entries[start:])


def project(entries: Iterable[Entry]) -> Changes:
    """Return what a batch of entries, in log order, changes."""
    changes = Changes()
    for entry in entries:
        changes.events.append(_raw(entry))
        if isinstance(entry, Stored):
            _project(changes, entry)
    return changes


def _raw(entry: Entry) -> Row:
    """Return the row of `events`: the second copy of the log."""
    readable = isinstance(entry, Stored)
    return {
        "sequence": entry.sequence,
        "subject": entry.subject,
        "type": entry.envelope.type if readable else "unreadable",
        "time": entry.envelope.time if readable else entry.stored_at,
        "key": entry.envelope.subject if readable else "",
        "correlation": entry.envelope.correlationid if readable else None,
        # a body that is no UTF-8, or holds a NUL, is kept readable rather than refused by the database
        "body": entry.body.decode(errors="backslashreplace").replace("\x00", "\\x00"),
    }


def _project(changes: Changes, entry: Stored) -> None:
    sent = entry.envelope
    match sent.data:
        case Command() as command:
            _command(changes, entry, command)
        case Rejected() as rejected:
            _answer(changes, entry, "rejected", rejected.code, rejected.reason, rejected.field)
        case FlowStarted() as started:
            _answer(changes, entry, "accepted")
            _started(changes, sent, started)
        case FlowSkipped() as skipped:
            _answer(changes, entry, "rejected", skipped.reason, skipped.message)
        case FlowCancelling() as cancelling:
            if cancelling.origin == "asked":
                _answer(changes, entry, "accepted")
        case FlowBackfilling() | FlowBackfillCancelled():
            _answer(changes, entry, "accepted")
        case FlowPlanned() as planned:
            _planned(changes, sent, planned)
        case FlowCompleted() as completed:
            _completed(changes, completed)
        case event if isinstance(event, Defined):
            _answer(changes, entry, "accepted")
            _defined(changes, event)
        case _:
            _backup(changes, sent)


# --- definitions and commands ----------------------------------------------------------------------------------------


def _defined(changes: Changes, event: Defined) -> None:
    if isinstance(event, FreezeDefined):
        freeze = None if event.definition is None else {"id": event.id, **structs.asdict(event.definition)}
        changes.definitions.append((t.freezes, event.id, freeze, []))
        return
    kind = kind_of(event)
    definition = event.definition
    row = None if definition is None else _definition_row(definition)
    members = (
        [
            {"group_id": definition.id, "position": position, **structs.asdict(member)}
            for position, member in enumerate(definition.members)
        ]
        if isinstance(definition, Group)
        else []
    )
    changes.definitions.append((TABLE_OF[kind], event.id, row, members))
    if kind == "flow" and definition is None:
        _forget(changes, event.id)


def _definition_row(definition: Definition) -> Row:
    row = structs.asdict(definition)
    if isinstance(definition, VmSpec):
        row["name"] = row.pop("vm_name")
        row["disks"] = [structs.asdict(disk) for disk in definition.disks]
    if isinstance(definition, ScheduleSpec):
        row["exclusions"] = to_builtins(definition.exclusions)
        row["inclusions"] = to_builtins(definition.inclusions)
    row.pop("members", None)
    return row


def _forget(changes: Changes, flow_id: str) -> None:
    """Drop what this batch wanted to add to a flow that is deleted now, with its history."""
    gone = {id_ for id_, row in changes.new_executions.items() if row["flow_id"] == flow_id}
    for id_ in gone:
        del changes.new_executions[id_]
    changes.new_jobs = {id_: row for id_, row in changes.new_jobs.items() if row["execution_id"] not in gone}
    changes.flow_changes.pop(flow_id, None)


def _command(changes: Changes, entry: Stored, command: Command) -> None:
    sent = entry.envelope
    if isinstance(command, PruneHistory):
        changes.prune_before = command.before
    changes.new_commands.setdefault(
        sent.id,
        {
            "id": sent.id,
            "sequence": entry.sequence,
            "entity": entity_of(command),
            "verb": verb_of(command),
            "entity_id": command.id,
            "actor": sent.actor or "unknown",
            "time": sent.time,
            "outcome": "accepted" if isinstance(command, PruneHistory) else "pending",
            "outcome_sequence": entry.sequence if isinstance(command, PruneHistory) else None,
            "code": None,
            "reason": None,
            "field": None,
        },
    )


def _answer(
    changes: Changes,
    entry: Stored,
    outcome: str,
    code: str | None = None,
    reason: str | None = None,
    field: str | None = None,
) -> None:
    """Note a command's outcome. The first answer on the log counts; one command may have several events."""
    command_id = entry.envelope.causationid
    if command_id is not None:
        changes.answers.setdefault(
            command_id,
            {
                "outcome": outcome,
                "outcome_sequence": entry.sequence,
                "code": code,
                "reason": reason,
                "field": field,
            },
        )


# --- executions ------------------------------------------------------------------------------------------------------


def _started(changes: Changes, sent: Envelope, event: FlowStarted) -> None:
    changes.new_executions[event.execution_id] = {
        "id": event.execution_id,
        "flow_id": None if event.flow_id == AD_HOC else event.flow_id,
        "flow_name": event.flow_name,
        "status": "running",
        "execution_type": event.execution_type,
        "triggered_by": event.triggered_by,
        "occurrence": event.occurrence,
        "created_at": sent.time,
        "started_at": sent.time,
        "completed_at": None,
        "repository_id": event.repository_id,
        "policy_id": event.policy_id,
        "retry_of": event.retry_of,
        "backfill_id": event.backfill_id,
        "priority": event.priority,
        "max_concurrent_jobs": event.max_concurrent_jobs,
        "jobs_created": event.jobs,
        "jobs_completed": 0,
        "jobs_failed": 0,
        "jobs_skipped": 0,
        "bytes_transferred": 0,
        "error_message": None,
        "excluded": [],
    }
    changes.flow_changes[event.flow_id] = {
        "last_execution_id": event.execution_id,
        "last_execution_status": "running",
        "last_execution_time": sent.time,
    }


def _planned(changes: Changes, sent: Envelope, event: FlowPlanned) -> None:
    execution = changes.new_executions.get(event.execution_id)
    # started and planned are one atomic batch on the log, but a batch of the follower may end between them
    if event.excluded:
        excluded = [structs.asdict(vm) for vm in event.excluded]
        if execution is not None:
            execution["excluded"] = excluded
        else:
            changes.execution_changes.setdefault(event.execution_id, {})["excluded"] = excluded
    offset = (event.part - 1) * 1_000_000  # positions need only be in order
    for number, backup in enumerate(event.backups):
        changes.new_jobs[backup.backup_id] = {
            "id": backup.backup_id,
            "execution_id": event.execution_id,
            "position": offset + number,
            "context_id": backup.context_id,
            "vm_name": backup.vm_name,
            "repository_id": None,
            "status": "pending",
            "attempt": 0,
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
            "snapshot_ref": None,
        }


def _completed(changes: Changes, event: FlowCompleted) -> None:
    change = {
        "status": event.status,
        "completed_at": event.completed_at,
        "jobs_created": event.jobs_created,
        "jobs_completed": event.jobs_completed,
        "jobs_failed": event.jobs_failed,
        "jobs_skipped": event.jobs_skipped,
        "bytes_transferred": event.bytes_transferred,
        "error_message": event.error_message,
    }
    if event.execution_id in changes.new_executions:
        changes.new_executions[event.execution_id].update(change)
    else:
        changes.execution_changes.setdefault(event.execution_id, {}).update(change)
    changes.flow_ends.append(
        {
            "flow_id": event.flow_id,
            "execution_id": event.execution_id,
            "status": event.status,
            "ok": int(event.status in {"success", "warning"}),
            "failed": int(event.status == "error"),
        }
    )


def _backup(changes: Changes, sent: Envelope) -> None:
    match sent.data:
        case BackupRequested() as event:
            _job(changes, event, status="queued", requested_at=sent.time, repository_id=event.repository_id)
        case BackupStarted() as event:
            _job(
                changes,
                event,
                status="running",
                worker=event.worker,
                started_at=sent.time,
                progress_percent=0,
                bytes_read=0,
                bytes_transferred=0,
            )
        case BackupProgressed() as event:
            _job(
                changes,
                event,
                progress_percent=event.percent,
                bytes_read=event.bytes_read,
                bytes_transferred=event.bytes_transferred,
            )
        case BackupRetrying() as event:
            _job(changes, event, status="queued", error_message=event.error, first_error=event.error)
        case BackupCompleted() as event:
            _job(
                changes,
                event,
                completed_at=sent.time,
                status="success",
                progress_percent=100,
                bytes_read=event.bytes_read,
                bytes_transferred=event.bytes_transferred,
                snapshot_ref=event.snapshot_ref,
                error_message=None,
            )
        case BackupFailed() as event:
            _job(
                changes,
                event,
                completed_at=sent.time,
                status="error",
                error_message=event.error,
                first_error=event.error,
            )
        case BackupCancelled() as event:
            _job(changes, event, completed_at=sent.time, status="cancelled", error_message=event.reason)
        case BackupSkipped() as event:
            _job(changes, event, completed_at=sent.time, status="skipped", error_message=event.reason)
        case _:
            pass


def _job(changes: Changes, event: BackupEvent, **values: Any) -> None:
    """Change a job's row, unless it has ended, or a newer attempt has begun (DESIGN, worker loss).

    What is not in this batch is checked by the store, attempt by attempt.
    """
    attempt = changes.attempts.get(event.backup_id, 0)
    if isinstance(event, AttemptEvent):
        if event.attempt < attempt:
            return
        attempt = changes.attempts[event.backup_id] = values["attempt"] = event.attempt
    row = changes.new_jobs.get(event.backup_id)
    if row is None:
        row = changes.job_changes.setdefault((event.backup_id, attempt), {})
    if row.get("completed_at") is None:
        if row.get("first_error") is not None:
            values.pop("first_error", None)
        row.update(values)
