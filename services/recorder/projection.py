"""The projection: what each event means for the tables. Pure: entries and what is known in, changes of rows out.

Changes are gathered per row over a batch of events, so that a batch becomes a few statements for many rows. `store.py`
applies them, in the order of the fields of `Changes`.

The projection is total: what the log says once more, and what makes no sense after what it said before, is set aside
and changes no row. Whether that is so depends on the log alone, never on how it is cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from msgspec import structs, to_builtins
from sqlalchemy import Table

from bus.envelope import Entry, Envelope, Stored
from schemas import tables as t
from schemas.base import Value
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
    BackupStatus,
    DeadReason,
    Defined,
    ExecutionEvent,
    FlowBackfillCancelled,
    FlowBackfilling,
    FlowCancelling,
    FlowCompleted,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    FreezeDefined,
    OfEngine,
    Rejected,
)
from schemas.ids import AD_HOC
from services.catalogue import kind_of
from services.recorder.known import Execution, Known, Row, bounded, clipped, identity_of, misfit

TABLE_OF: dict[Kind, Table] = {
    "vm": t.vms,
    "group": t.machine_groups,
    "schedule": t.schedules,
    "repository": t.repositories,
    "policy": t.policies,
    "flow": t.protection_flows,
}


class Aside(Value, frozen=True, kw_only=True):
    """A message that changes no row but its own in `events`, and why."""

    entry: Entry
    reason: DeadReason
    error: str


class SetAside(Exception):
    """The message at hand is to change nothing."""

    def __init__(self, reason: DeadReason, error: str) -> None:
        super().__init__(error)
        self.reason: DeadReason = reason


class Changes:
    """What a batch of events changes. Rows are dicts by column name."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.aside: list[Aside] = []
        self.events: list[Row] = []
        self.identities: dict[str, int] = {}
        self.definitions: list[tuple[Table, str, Row | None, list[Row]]] = []  # table, id, row (None: gone), members
        self.new_executions: dict[str, Row] = {}
        self.new_jobs: dict[tuple[str, str], Row] = {}  # by execution and backup
        self.job_changes: dict[str, Row] = {}
        self.execution_changes: dict[str, Row] = {}
        self.flow_changes: dict[str, Row] = {}
        self.flow_ends: list[Row] = []  # flow_id, execution_id, status, ok (0 or 1)
        self.new_commands: dict[str, Row] = {}
        self.answers: dict[str, Row] = {}
        self.prune_before: datetime | None = None

    def identify(self, identity: str, number: int = 1) -> None:
        """Remember what the log has said, for as long as there are tables."""
        self.identities[identity] = self.known.identities[identity] = number


def batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Yield the entries so that what prunes is the last of its batch: what comes after it is not pruned."""
    start = 0
    for number, entry in enumerate(entries, start=1):
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, PruneHistory):
            yield list(entries[start:number])
            start = number
    if start < len(entries):
        yield list(entries[start:])


def project(entries: Iterable[Entry], known: Known) -> Changes:
    """Return what a batch of entries, in log order, changes. `known` is kept up with them."""
    changes = Changes(known)
    for entry in entries:
        changes.events.append(_raw(entry))
        try:
            if isinstance(entry, Stored):
                _project(changes, entry)
            elif entry.unknown_type is None:
                raise SetAside("malformed", entry.error)  # noqa: TRY301  one place keeps what is set aside
        except SetAside as why:
            changes.aside.append(Aside(entry=entry, reason=why.reason, error=str(why)))
    return changes


def refuse(entry: Entry, error: str) -> Changes:
    """Return what an entry changes that the database did not take: its row of `events` alone."""
    changes = Changes(Known())
    changes.events.append(_raw(entry))
    changes.aside.append(Aside(entry=entry, reason="unusable", error=error))
    return changes


def _raw(entry: Entry) -> Row:
    """Return the row of `events`: the second copy of the log. Whatever is on the log has one."""
    sent = entry.envelope if isinstance(entry, Stored) else None
    correlation = sent.correlationid if sent else None
    return {
        "sequence": entry.sequence,
        "subject": clipped(entry.subject, 255),
        "type": clipped(sent.type, 64) if sent else "unreadable",
        "time": bounded(sent.time if sent else entry.stored_at),
        "key": clipped(sent.subject, 64) if sent else "",
        "correlation": None if correlation is None else clipped(correlation, 64),
        # a body that is no UTF-8, or holds a NUL, is kept readable rather than refused by the database
        "body": entry.body.decode(errors="backslashreplace").replace("\x00", "\\x00"),
    }


def _project(changes: Changes, entry: Stored) -> None:
    sent = entry.envelope
    match sent.data:
        case BackupEvent() as event:  # first: most of a log is about backups
            _backup(changes, sent, event)
        case Command() as command:
            _command(changes, entry, command)
        case Rejected() | FlowCancelling() | FlowBackfilling() | FlowBackfillCancelled():
            _answer(changes, entry)
        case FlowStarted() as started:
            _started(changes, entry, started)
        case FlowSkipped() as skipped:
            _skipped(changes, entry, skipped)
        case FlowPlanned() as planned:
            _planned(changes, sent, planned)
        case FlowCompleted() as completed:
            _completed(changes, completed)
        case event if isinstance(event, Defined):
            _defined(changes, entry, event)
        case _:
            pass


def _fitting(table: Table, row: Row) -> Row:
    """Return a row that every database takes. Raises `SetAside` for one that some do not."""
    if error := misfit(table, row):
        raise SetAside("unusable", error)
    return row


# --- definitions and commands ----------------------------------------------------------------------------------------


def _defined(changes: Changes, entry: Stored, event: Defined) -> None:
    identity = identity_of(entry.envelope, event)
    version = changes.known.identities.get(identity, 0)
    if version == event.version and changes.known.commands.get(entry.envelope.causationid or ""):
        _answer(changes, entry)  # of a command that had nothing to change
        return
    if version >= event.version:
        kind = str(event.__struct_config__.tag).removeprefix("catalog.")
        raise SetAside("repeated", f"version {event.version} of {kind} {event.id} or a later one is on the log already")
    if isinstance(event, OfEngine):
        table = t.freezes if isinstance(event, FreezeDefined) else t.settings
        row = None if event.definition is None else {"id": event.id, **structs.asdict(event.definition)}
        changes.definitions.append((table, event.id, row and _fitting(table, row), []))
    else:
        _definition(changes, event)
    _answer(changes, entry)
    changes.identify(identity, event.version)


def _definition(changes: Changes, event: Defined) -> None:
    assert not isinstance(event, OfEngine)
    kind, definition = kind_of(event), event.definition
    table = TABLE_OF[kind]
    row = None if definition is None else _fitting(table, _definition_row(definition))
    members = (
        [
            {"group_id": definition.id, "position": position, **structs.asdict(member)}
            for position, member in enumerate(definition.members)
        ]
        if isinstance(definition, Group)
        else []
    )
    if len({member["context_id"] for member in members}) < len(members):
        raise SetAside("unusable", f"group {event.id} names a VM twice")
    if row is not None and row["id"] != event.id:
        raise SetAside("unusable", f"the definition of {kind} {event.id} is one of {row['id']}")
    changes.definitions.append((table, event.id, row, members))
    if kind != "flow":
        return
    if definition is None:
        _forget(changes, event.id)
    else:
        changes.known.flows.add(event.id)
        changes.identify(f"flow/{event.id}")


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
    """Drop what is known of a flow that is deleted now, and what this batch wanted to add to it, with its history."""
    known = changes.known
    known.flows.discard(flow_id)
    gone = {id_ for id_, execution in known.executions.items() if execution.flow_id == flow_id}
    for id_ in gone:
        del known.executions[id_]
        changes.new_executions.pop(id_, None)
        changes.execution_changes.pop(id_, None)
    known.jobs = {key: job for key, job in known.jobs.items() if key[0] not in gone}
    changes.new_jobs = {key: row for key, row in changes.new_jobs.items() if key[0] not in gone}
    changes.flow_ends = [end for end in changes.flow_ends if end["flow_id"] != flow_id]
    changes.flow_changes.pop(flow_id, None)


def _command(changes: Changes, entry: Stored, command: Command) -> None:
    sent = entry.envelope
    if sent.id in changes.known.commands:
        raise SetAside("repeated", f"command {sent.id} is on the log already")
    prunes = isinstance(command, PruneHistory)
    row = {
        "id": sent.id,
        "sequence": entry.sequence,
        "entity": entity_of(command),
        "verb": verb_of(command),
        "entity_id": command.id,
        "actor": sent.actor or "unknown",
        "time": sent.time,
        "outcome": "accepted" if prunes else "pending",
        "outcome_sequence": entry.sequence if prunes else None,
        "code": None,
        "reason": None,
        "field": None,
    }
    if isinstance(command, PruneHistory):
        _fitting(t.executions, {"completed_at": command.before})
        changes.prune_before = command.before
    changes.new_commands[sent.id] = _fitting(t.commands, row)
    changes.known.commands[sent.id] = not prunes


def answer_of(entry: Stored) -> Row | None:
    """Return what a message says as the answer to the command that led to it, None when it is no answer."""
    outcome, code, reason, field = "accepted", None, None, None
    match entry.envelope.data:
        case Rejected() as no:
            outcome, code, reason, field = "rejected", no.code, no.reason, no.field
        case FlowSkipped() as skipped:
            outcome, code, reason = "rejected", skipped.reason, skipped.message
        case FlowStarted() | FlowBackfilling() | FlowBackfillCancelled() | FlowCancelling(origin="asked"):
            pass
        case event if isinstance(event, Defined):
            pass
        case _:
            return None
    return {"outcome": outcome, "outcome_sequence": entry.sequence, "code": code, "reason": reason, "field": field}


def _answer(changes: Changes, entry: Stored) -> None:
    """Note a command's outcome. The first answer on the log counts; one command may have several events."""
    command_id, answer = entry.envelope.causationid, answer_of(entry)
    if command_id is None or answer is None or not changes.known.commands.get(command_id):
        return
    _fitting(t.commands, answer)
    changes.known.commands[command_id] = False
    if command_id in changes.new_commands:
        changes.new_commands[command_id].update(answer)
    else:
        changes.answers[command_id] = answer


# --- executions ------------------------------------------------------------------------------------------------------


def _execution(changes: Changes, event: ExecutionEvent) -> Execution | None:
    """Return what is known of an event's execution, None when it is gone: deleted with its flow, or pruned.

    Raises `SetAside` when it never was.
    """
    execution = changes.known.executions.get(event.execution_id)
    if execution is None and f"execution/{event.execution_id}" not in changes.known.identities:
        raise SetAside("unusable", f"execution {event.execution_id} never began")
    return execution


def _once(changes: Changes, event: FlowStarted | FlowSkipped) -> str:
    """Return the identity of an execution that begins or is skipped. Raises `SetAside` when it did so before."""
    identity = f"execution/{event.execution_id}"
    if identity in changes.known.identities:
        raise SetAside("repeated", f"execution {event.execution_id} has begun or been skipped before")
    return identity


def _skipped(changes: Changes, entry: Stored, event: FlowSkipped) -> None:
    identity = _once(changes, event)
    _answer(changes, entry)
    changes.identify(identity)


def _started(changes: Changes, entry: Stored, event: FlowStarted) -> None:
    known, sent = changes.known, entry.envelope
    identity = _once(changes, event)
    ad_hoc = event.flow_id == AD_HOC
    if not ad_hoc and f"flow/{event.flow_id}" not in known.identities:
        raise SetAside("unusable", f"there has never been a flow {event.flow_id}")
    row: Row = {
        "id": event.execution_id,
        "flow_id": None if ad_hoc else event.flow_id,
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
    _fitting(t.executions, row)
    _answer(changes, entry)
    changes.identify(identity)
    if not ad_hoc and event.flow_id not in known.flows:
        return  # it was deleted in the very moment in which the execution began
    known.executions[event.execution_id] = Execution(flow_id=event.flow_id, ended=False)
    changes.new_executions[event.execution_id] = row
    changes.flow_changes[event.flow_id] = {
        "last_execution_id": event.execution_id,
        "last_execution_status": "running",
        "last_execution_time": sent.time,
    }


def _change_execution(changes: Changes, id_: str, values: Row) -> None:
    row = changes.new_executions.get(id_)
    if row is None:
        row = changes.execution_changes.setdefault(id_, {})
    row.update(values)


def _planned(changes: Changes, sent: Envelope, event: FlowPlanned) -> None:
    if _execution(changes, event) is None:
        return
    identity = f"plan/{event.execution_id}/{event.part}"
    if identity in changes.known.identities:
        raise SetAside("repeated", f"part {event.part} of the plan of execution {event.execution_id} is there already")
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
            "snapshot_ref": None,
        }
        for number, backup in enumerate(event.backups)
    ]
    for row in rows:
        _fitting(t.backup_jobs, {name: row[name] for name in ("position", "vm_name", "created_at")})
    if event.excluded:
        excluded = [structs.asdict(vm) for vm in event.excluded]
        _fitting(t.executions, {"excluded": excluded})
        _change_execution(changes, event.execution_id, {"excluded": excluded})
    for row in rows:
        key = event.execution_id, row["id"]
        if key not in changes.known.jobs:
            changes.known.jobs[key] = changes.new_jobs[key] = row
    changes.identify(identity)


def _completed(changes: Changes, event: FlowCompleted) -> None:
    execution = _execution(changes, event)
    if execution is None:
        return
    if execution.ended:
        raise SetAside("repeated", f"execution {event.execution_id} has completed before")
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
    _change_execution(changes, event.execution_id, _fitting(t.executions, change))
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


# --- backups ---------------------------------------------------------------------------------------------------------


def _backup(changes: Changes, sent: Envelope, event: BackupEvent) -> None:
    """Change a job's row, unless it has ended, or a newer attempt has begun: then a straggler changes nothing."""
    key = event.execution_id, event.backup_id
    job = changes.known.jobs.get(key)
    if job is None:
        if _execution(changes, event) is not None:
            raise SetAside("unusable", f"backup {event.backup_id} is in no plan of execution {event.execution_id}")
        return
    if error := _repeats(job, event):
        raise SetAside("repeated", error)
    if job["completed_at"] is not None or _late(job, event):
        return
    values = _values(sent, event)
    if not values:
        return
    if isinstance(event, AttemptEvent):
        values["attempt"] = event.attempt
    if job["first_error"] is not None:
        values.pop("first_error", None)
    _fitting(t.backup_jobs, values)
    job.update(values)
    if key not in changes.new_jobs:
        changes.job_changes.setdefault(event.backup_id, {}).update(values)


def _late(job: Row, event: BackupEvent) -> bool:
    """Tell whether more is known already: of a newer attempt, or of this one's progress."""
    if not isinstance(event, AttemptEvent) or event.attempt > job["attempt"]:
        return False
    return event.attempt < job["attempt"] or (
        isinstance(event, BackupProgressed) and event.percent <= job["progress_percent"]
    )


def _repeats(job: Row, event: BackupEvent) -> str | None:
    """Return what an event says once more, None when it says something new, or is late."""
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


def _values(sent: Envelope, event: BackupEvent) -> Row:
    """Return what an event changes in its job's row."""
    match event:
        case BackupRequested():
            return {
                "status": "queued",
                "round": event.round,
                "requested_at": sent.time,
                "repository_id": event.repository_id,
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
