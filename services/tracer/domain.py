"""Spans, made from the log: one trace for each execution, from due or the command to the last backup. Pure.

    flow.due              from the occurrence until the execution began: how late it was
      execution           from `flow.started` to `flow.completed`
        backup            from `backup.requested` to its end: what it waited for a worker is in it
          attempt         from `backup.started` to the end of this attempt

A span has the id of the message that began it (`bus.trace`), so whoever goes on from a message's `traceparent` is in
the same tree. A span is due when it has ended; what is made again from the log is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec.structs import replace

from bus import trace
from bus.envelope import Entry, Envelope, Stored
from schemas.base import Value
from schemas.commands import BackupVm, ExecuteFlow, RetryExecution
from schemas.events import (
    AttemptEvent,
    BackupCancelled,
    BackupCompleted,
    BackupEvent,
    BackupFailed,
    BackupRequested,
    BackupRetrying,
    BackupSkipped,
    BackupStarted,
    FlowCompleted,
    FlowDue,
    FlowSkipped,
    FlowStarted,
    Rejected,
)

READS = (
    "command.flow.execute",
    "command.execution.retry",
    "command.backup.create",
    "rejected.*.*",
    "flow.*.*",
    "backup.>",
)
MOST_CAUSES = 10_000  # commands and occurrences without an outcome: older ones are forgotten

Attribute = str | int


class Span(Value, frozen=True, kw_only=True):
    """One span. `link`: trace and span of a request from outside that led to it. `error`: why it failed."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    service: str
    start: datetime
    end: datetime
    attributes: Mapping[str, Attribute]
    error: str | None = None
    link: tuple[str, str] | None = None


class Open(Value, frozen=True, kw_only=True):
    """A span that has not ended: `end` is still its start. `sequence`: where on the log what led to it began."""

    span: Span
    sequence: int


class State:
    """Spans that have not ended. `evolve` changes it in place."""

    def __init__(self) -> None:
        self.causes: dict[str, Open] = {}  # by message: what may lead to an execution
        self.executions: dict[str, Open] = {}
        self.backups: dict[str, Open] = {}
        self.attempts: dict[tuple[str, int], Open] = {}

    @property
    def oldest(self) -> int | None:
        """The sequence from which on the log is to be read again; None when nothing is open."""
        opened = (*self.executions.values(), *self.backups.values(), *self.causes.values())
        return min((one.sequence for one in opened), default=None)


def evolve(state: State, entry: Entry) -> list[Span]:
    """Take in one message of the log, and return the spans that end with it."""
    if not isinstance(entry, Stored):
        return []
    sent = entry.envelope
    match sent.data:
        case ExecuteFlow() | RetryExecution() | BackupVm() | FlowDue():
            _remember(state, entry)
        case Rejected():
            return [] if (cause := _cause(state, sent)) is None else [_ended(cause.span, sent, error=sent.data.reason)]
        case FlowStarted() as started:
            return _begin(state, entry, started)
        case FlowSkipped() as skipped:
            return [] if (cause := _cause(state, sent)) is None else [_ended(cause.span, sent, error=skipped.message)]
        case FlowCompleted() as completed:
            return _complete(state, sent, completed)
        case BackupRequested() as requested:
            _request(state, entry, requested)
        case BackupStarted() as begun:
            _attempt(state, entry, begun)
        case BackupEvent() as event:
            return _end(state, sent, event)
        case _:
            pass
    return []


def _remember(state: State, entry: Stored) -> None:
    """Remember what may lead to an execution."""
    sent = entry.envelope
    start = sent.data.occurrence if isinstance(sent.data, FlowDue) else sent.time
    span = _opened(sent, sent.type, start=start, parent=None)
    if (outside := trace.parse(sent.traceparent)) is not None and outside[0] != span.trace_id:
        span = replace(span, link=outside)
    state.causes[sent.id] = Open(span=span, sequence=entry.sequence)
    while len(state.causes) > MOST_CAUSES:
        del state.causes[next(iter(state.causes))]


def _cause(state: State, sent: Envelope) -> Open | None:
    return state.causes.pop(sent.causationid or "", None)


def _begin(state: State, entry: Stored, started: FlowStarted) -> list[Span]:
    sent, cause = entry.envelope, _cause(state, entry.envelope)
    span = _opened(sent, "execution", start=sent.time, parent=None if cause is None else cause.span.span_id)
    about: dict[str, Attribute] = {
        "flows.flow.name": started.flow_name,
        "flows.execution.type": started.execution_type,
        "flows.triggered_by": started.triggered_by,
        "flows.backups": started.jobs,
    }
    span = replace(span, attributes={**span.attributes, **about})
    sequence = entry.sequence if cause is None else cause.sequence
    state.executions[started.execution_id] = Open(span=span, sequence=sequence)
    # what led to it shares the trace of the execution
    return [] if cause is None else [_ended(replace(cause.span, trace_id=span.trace_id), sent)]


def _complete(state: State, sent: Envelope, completed: FlowCompleted) -> list[Span]:
    opened = state.executions.pop(completed.execution_id, None)
    if opened is None:
        return []
    about: dict[str, Attribute] = {
        "flows.status": completed.status,
        "flows.backups.succeeded": completed.jobs_completed,
        "flows.backups.failed": completed.jobs_failed,
        "flows.backups.skipped": completed.jobs_skipped,
        "flows.bytes_transferred": completed.bytes_transferred,
    }
    span = replace(opened.span, attributes={**opened.span.attributes, **about})
    return [_ended(span, sent, error=completed.error_message if completed.status == "error" else None)]


def _request(state: State, entry: Stored, requested: BackupRequested) -> None:
    """Open a backup; one that is requested anew goes on."""
    if requested.backup_id in state.backups:
        return
    sent, execution = entry.envelope, state.executions.get(requested.execution_id)
    span = _opened(sent, "backup", start=sent.time, parent=None if execution is None else execution.span.span_id)
    about = {
        "flows.vm.name": requested.vm_name,
        "flows.repository.id": requested.repository_id,
        "flows.engine": requested.engine,
    }
    span = replace(span, attributes={**span.attributes, **about})
    sequence = entry.sequence if execution is None else execution.sequence
    state.backups[requested.backup_id] = Open(span=span, sequence=sequence)


def _attempt(state: State, entry: Stored, begun: BackupStarted) -> None:
    sent, backup = entry.envelope, state.backups.get(begun.backup_id)
    if backup is None:
        return
    span = _opened(sent, "attempt", start=sent.time, parent=backup.span.span_id)
    span = replace(span, attributes={**span.attributes, "flows.attempt": begun.attempt, "flows.worker": begun.worker})
    state.attempts.setdefault((begun.backup_id, begun.attempt), Open(span=span, sequence=entry.sequence))


def _end(state: State, sent: Envelope, event: BackupEvent) -> list[Span]:
    """Return the spans that end with a report: of the attempt, and of the backup unless another attempt follows."""
    error: str | None = None
    about: dict[str, Attribute] = {}
    match event:
        case BackupCompleted():
            about = {"flows.bytes_read": event.bytes_read, "flows.bytes_transferred": event.bytes_transferred}
        case BackupFailed() | BackupRetrying():
            error = event.error
        case BackupCancelled() | BackupSkipped():
            about = {"flows.reason": event.reason}
        case _:  # progress, and what is no end
            return []
    ended: list[Open] = []
    if isinstance(event, AttemptEvent) and (one := state.attempts.pop((event.backup_id, event.attempt), None)):
        ended.append(one)
    if not isinstance(event, BackupRetrying) and (one := state.backups.pop(event.backup_id, None)):
        ended.append(one)
        for key in [key for key in state.attempts if key[0] == event.backup_id]:  # lost ones
            del state.attempts[key]
    return [_ended(replace(one.span, attributes={**one.span.attributes, **about}), sent, error=error) for one in ended]


def _opened(sent: Envelope, name: str, *, start: datetime, parent: str | None) -> Span:
    data = sent.data
    ids = {"flow": "flow_id", "execution": "execution_id", "backup": "backup_id", "vm": "context_id"}
    found = {f"flows.{kind}.id": getattr(data, field, None) for kind, field in ids.items()}
    return Span(
        trace_id=trace.trace_id(sent.correlationid or sent.id),
        span_id=trace.span_id(sent.id),
        parent_id=parent,
        name=name,
        service=sent.source,
        start=start,
        end=start,
        attributes={name: value for name, value in found.items() if value is not None},
    )


def _ended(span: Span, sent: Envelope, *, error: str | None = None) -> Span:
    return replace(span, end=max(span.start, sent.time), error=error)
