"""The projection: what each event means for the tables. Pure: entries and what is known in, changes of rows out.

Changes are gathered per row over a batch of events, so that a batch becomes a few statements for many rows. `store.py`
applies them, in the order of the fields of `Changes`.

The projection is total: a repeated event, and one that contradicts the events before it, changes no row and becomes a
dead letter. Whether it does depends on the log alone, never on how it is divided into batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bus.envelope import Entry, Stored
from schemas.commands import Command, PruneHistory
from schemas.events import (
    BackupEvent,
    Defined,
    FlowBackfillCancelled,
    FlowBackfilling,
    FlowBuffered,
    FlowCancelling,
    FlowCompleted,
    FlowDue,
    FlowMissed,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    NotificationEvent,
    Rejected,
)
from services.recorder.backups import project_backup
from services.recorder.changes import Changes, Unprojectable
from services.recorder.commands import project_command, record_outcome
from services.recorder.definitions import project_definition
from services.recorder.executions import (
    project_buffering,
    project_completion,
    project_occurrence,
    project_plan,
    project_skip,
    project_start,
)
from services.recorder.known import KnownRows, Row, bounded, clipped
from services.recorder.notifications import project_notification
from services.unusable import DeadLetter


def batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Yield the entries in batches that a pruning command ends: what comes after it is not pruned."""
    start = 0
    for number, entry in enumerate(entries, start=1):
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, PruneHistory):
            yield list(entries[start:number])
            start = number
    if start < len(entries):
        yield list(entries[start:])


def project(entries: Iterable[Entry], known: KnownRows) -> Changes:
    """Return what a batch of entries, in log order, changes. `known` is kept up with them."""
    changes = Changes(known)
    for entry in entries:
        changes.events.append(_raw(entry))
        try:
            if isinstance(entry, Stored):
                _project(changes, entry)
            elif entry.unknown_type is None:
                raise Unprojectable("malformed", entry.error)  # noqa: TRY301  one place keeps dead letters
        except Unprojectable as refusal:
            changes.dead_letters.append(DeadLetter(entry=entry, reason=refusal.reason, error=str(refusal)))
    return changes


def refuse(entry: Entry, error: str) -> Changes:
    """Return what an entry changes that the database refused: its row of `events` alone."""
    changes = Changes(KnownRows())
    changes.events.append(_raw(entry))
    changes.dead_letters.append(DeadLetter(entry=entry, reason="unusable", error=error))
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
            project_backup(changes, sent, event)
        case Command() as command:
            project_command(changes, entry, command)
        case Rejected() | FlowCancelling() | FlowBackfilling() | FlowBackfillCancelled():
            record_outcome(changes, entry)
        case FlowBuffered() as buffered:
            project_buffering(changes, entry, buffered)
        case FlowStarted() as started:
            project_start(changes, entry, started)
        case FlowSkipped() as skipped:
            project_skip(changes, entry, skipped)
        case FlowDue() as due:
            project_occurrence(changes, due.flow_id, due.occurrence)
        case FlowMissed() as missed:
            project_occurrence(changes, missed.flow_id, missed.last)
        case FlowPlanned() as planned:
            project_plan(changes, sent, planned)
        case FlowCompleted() as completed:
            project_completion(changes, completed)
        case NotificationEvent() as event:
            project_notification(changes, entry, event)
        case event if isinstance(event, Defined):
            project_definition(changes, entry, event)
        case _:
            pass
