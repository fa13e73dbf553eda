"""A message of the log in one line."""

from __future__ import annotations

from bus.envelope import Entry, Stored
from schemas import events as e
from schemas.base import Message
from schemas.commands import Command
from schemas.definitions import Freeze, Settings, SettingsPatch, Token, name_of
from schemas.ids import instant
from schemas.labels import canonical
from schemas.workers import Worker


def describe(entry: Entry) -> str:
    """Return the content of a message in one line."""
    if not isinstance(entry, Stored):
        return f"unreadable: {entry.error}"
    message = entry.envelope.data
    if isinstance(message, e.BackupEvent):
        return _backup(message)
    return _flow(message) or _other(message, entry.envelope.actor)


def _flow(message: Message) -> str:
    match message:
        case e.FlowDue():
            return f"occurrence {instant(message.occurrence)}"
        case e.FlowMissed():
            return f"{message.count} occurrences, {instant(message.first)} to {instant(message.last)}"
        case e.FlowOverdue():
            what = {"start": "should have begun", "finish": "should have ended", "stop": "should have stopped"}
            vm = f" VM {message.context_id}" if message.context_id else ""
            return f"{what[message.deadline]} by {instant(message.passed_at)}: execution {message.execution_id}{vm}"
        case e.FlowBuffered():
            ahead = ", ".join(message.waiting_for)
            return f"{message.flow_name}: execution {message.execution_id} waits for {ahead} ({message.overlap_policy})"
        case e.FlowStarted():
            return (
                f"{message.flow_name}: {message.execution_type}, {message.jobs} VMs, execution {message.execution_id}"
            )
        case e.FlowPlanned():
            return (
                f"part {message.part} of {message.parts}: {len(message.backups)} VMs, {len(message.excluded)} left out"
            )
        case e.FlowSkipped():
            return f"{message.reason}: {message.message}"
        case e.FlowCancelling():
            return f"{message.reason}: {message.context_id or 'all VMs'} of execution {message.execution_id}"
        case e.FlowCompleted():
            done = f"{message.jobs_completed} of {message.jobs_created} VMs, {message.bytes_transferred:,} bytes"
            return f"{message.status}: {done}" + (f"; {message.error_message}" if message.error_message else "")
        case e.FlowBackfilling():
            return f"{len(message.occurrences)} occurrences, {message.max_concurrent} at a time"
        case e.FlowBackfillCancelled():
            return message.reason
        case _:
            return ""


def _backup(message: e.BackupEvent) -> str:
    match message:
        case e.BackupRequested():
            return f"{message.vm_name}: {len(message.disks)} disks to {message.location}"
        case e.BackupStarted():
            return f"{message.context_id}: attempt {message.attempt} on {message.worker}"
        case e.BackupProgressed():
            return f"{message.context_id}: {message.percent} %, {message.bytes_transferred:,} bytes"
        case e.BackupRetrying():
            failed = f"attempt {message.attempt} failed, next in {message.delay_seconds} s"
            return f"{message.context_id}: {failed}: {message.error}"
        case e.BackupCompleted():
            return f"{message.context_id}: {message.bytes_transferred:,} bytes at {message.snapshot_ref}"
        case e.BackupFailed():
            return f"{message.context_id}: {message.error}"
        case e.BackupSkipped() | e.BackupCancelled():
            return f"{message.context_id}: {message.reason}"
        case _:
            return ""


def _notification(message: e.NotificationEvent) -> str:
    match message:
        case e.NotificationDue():
            return f"{message.severity}: {message.title}"
        case e.NotificationFailed():
            return f"attempt {message.attempt} failed, next at {instant(message.next_try)}: {message.reason}"
        case e.NotificationDelivered():
            return message.reply
        case e.NotificationDropped():
            return message.reason
        case e.NotificationClaimed():
            return f"{message.holder} delivers from here on"
        case _:
            return ""


def _other(message: Message, actor: str | None) -> str:
    match message:
        case Command():
            return f"by {actor}"
        case e.Rejected():
            return message.reason
        case e.DeadSettled():
            return f"message {message.sequence} was {message.how} by {actor}"
        case e.DeadLettered():
            return f"message {message.sequence} on {message.subject}: {message.error}"
        case e.NotificationEvent():
            return _notification(message)
        case e.FreezeDefined():
            freeze = message.definition
            return f"until {instant(freeze.until)}: {freeze.reason}" if freeze else "lifted"
        case e.SettingsDefined():
            values = ((name, getattr(message.definition, name)) for name in SettingsPatch.__struct_fields__)
            given = ", ".join(f"{name} {shown(value)}" for name, value in values)
            return f"{given} (version {message.version})"
        case e.TokenDefined():
            return _token(message.definition)
        case e.WorkerDefined():
            return _worker(message.definition)
        case defined if isinstance(defined, e.Defined):
            return (
                "deleted"
                if defined.definition is None or isinstance(defined.definition, Freeze | Settings | Token | Worker)
                else f"{name_of(defined.definition)} (version {defined.version})"
            )
        case _:
            return ""


def _token(token: Token | None) -> str:
    if token is None:
        return "deleted"
    return f"{token.name}, {token.role}" if token.revoked_at is None else f"{token.name}, revoked by {token.revoked_by}"


def _worker(worker: Worker | None) -> str:
    if worker is None:
        return "deleted"
    about = f"{worker.name} with {canonical(worker.labels) or 'no labels'}"
    if worker.revoked_at is not None:
        return f"{about}, revoked by {worker.revoked_by}"
    return f"{about}, {'enrolled' if worker.enrolled_at else 'waiting to be enrolled'}"


def shown(value: object) -> str:
    """Return the value of a setting; folders have a colon between them, as on PATH."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list():
            return ":".join(map(str, value))
        case _:
            return str(value)
