"""The rows that some entries are about: enough to recognise what is new, and what every database takes. Pure.

An identity stands for what is on the log once, and must not be repeated. It stays known when the rows are gone: deleted
with their flow, or pruned.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct, field
from sqlalchemy import BigInteger, Integer, String, Table

from bus.envelope import Entry, Envelope, Stored
from schemas import tables as t
from schemas.commands import Command
from schemas.events import (
    BackupEvent,
    Defined,
    ExecutionEvent,
    FlowBackfillCancelled,
    FlowBackfilling,
    FlowBuffered,
    FlowCancelling,
    FlowDue,
    FlowMissed,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    NotificationDue,
    OfEngine,
    Rejected,
)
from schemas.ids import AD_HOC, instant

Row = dict[str, Any]

Outcome = Rejected | FlowBuffered | FlowStarted | FlowSkipped | FlowCancelling | FlowBackfilling | FlowBackfillCancelled


class KnownExecution(Struct, kw_only=True):
    """An execution that has a row. `job_ids` are known when a part of its plan is among the entries."""

    flow_id: str
    started_at: datetime | None  # None: it waits for its turn
    ended: bool
    job_ids: list[str] = field(default_factory=list[str])


class KnownFlow(Struct, kw_only=True):
    """A flow that has a row. `last_occurrence` is known when an occurrence of it is among the entries."""

    armed_at: datetime
    last_occurrence: datetime | None = None


class KnownRows:
    """What is known, by id. The projection keeps it up with what it projects."""

    def __init__(self) -> None:
        self.identities: dict[str, int] = {}  # a definition's: the version
        self.flows: dict[str, KnownFlow] = {}
        self.executions: dict[str, KnownExecution] = {}
        self.jobs: dict[tuple[str, str], Row] = {}  # by execution and backup: as much as decides what comes next
        self.commands: dict[str, bool] = {}  # whether it waits for its outcome


class Subjects:
    """The ids of what some entries are about, to be queried."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.identities: set[str] = set()
        self.flows: set[str] = set()
        self.begun: set[str] = set()
        self.executions: set[str] = set()
        self.planned: set[str] = set()  # executions
        self.jobs: dict[str, str] = {}  # backup to execution
        self.commands: set[str] = set()
        for entry in entries:
            if isinstance(entry, Stored):
                data = entry.envelope.data
                if isinstance(data, BackupEvent):  # most of a log
                    self.jobs[data.backup_id] = data.execution_id
                else:
                    self._add(entry.envelope)
        self.executions.update(self.jobs.values())

    def _add(self, sent: Envelope) -> None:
        data = sent.data
        if isinstance(data, Command):
            self.commands.add(sent.id)
        elif isinstance(data, Defined):
            self.identities.add(identity_of(sent, data))
        elif isinstance(data, NotificationDue):
            self.identities.add(f"delivery/{data.delivery_id}")
        elif isinstance(data, FlowDue | FlowMissed):
            self.flows.add(data.flow_id)
        elif isinstance(data, ExecutionEvent):
            self.executions.add(data.execution_id)
            if isinstance(data, FlowBuffered | FlowStarted):
                self.begun.add(data.execution_id)
                self.identities.add(f"buffered/{data.execution_id}")
                if data.flow_id != AD_HOC:
                    self.flows.add(data.flow_id)
                    self.identities.add(f"flow/{data.flow_id}")
            elif isinstance(data, FlowPlanned):
                self.planned.add(data.execution_id)
                self.identities.add(f"plan/{data.execution_id}/{data.part}")
                self.jobs.update((backup.backup_id, data.execution_id) for backup in data.backups)
        if sent.causationid is not None and isinstance(data, Outcome | Defined):
            self.commands.add(sent.causationid)


def identity_of(sent: Envelope, event: Defined) -> str:
    """Return the identity of a definition from its creation to its deletion, or that of its deletion.

    An id may be used again after a deletion, with versions that begin at 1 again.
    """
    kind = str(event.__struct_config__.tag).removeprefix("catalog.")
    if isinstance(event, OfEngine):
        return f"{kind}/{event.id}"
    if event.definition is None:
        return f"{kind}/{event.id}/deleted/{instant(bounded(sent.time))}"
    return f"{kind}/{event.id}/{instant(bounded(event.definition.created_at))}"


# --- what every database takes ---------------------------------------------------------------------------------------


def clipped(text: str, length: int) -> str:
    """Return a text that fits into a column."""
    return text if len(text) <= length and "\x00" not in text else text[:length].replace("\x00", "?")


def bounded(at: datetime) -> datetime:
    """Return an instant that can be converted to any zone: years 1 and 9999 overflow."""
    return at if 1 < at.year < 9999 else at.replace(year=min(max(at.year, 2), 9998), day=1)


_LIMITS = {
    table.name: {
        column.name: column.type.length
        if isinstance(column.type, String)
        else 2 ** (63 if isinstance(column.type, BigInteger) else 31)
        for column in table.columns
        if isinstance(column.type, String | Integer)
    }
    for table in t.metadata.sorted_tables
}


def misfit(table: Table, row: dict[str, Any]) -> str | None:
    """Return what is wrong with values of a row for some database that it may be written to; None when nothing is."""
    limits = _LIMITS[table.name]
    for name, value in row.items():
        kind = type(value)
        if kind is str:
            limit = limits.get(name)
            if limit is not None and len(value) > limit:
                return f"{name} has {len(value)} characters; {limit} can be kept"
            if "\x00" in value:
                return f"{name} has a NUL in it"
        elif kind is int:
            limit = limits[name]
            if limit is not None and not -limit <= value < limit:
                return f"{name} is too large a number: {value}"
        elif kind is datetime and not 1 < value.year < 9999:
            return f"{name} is in the year {value.year}"
    return None
