"""What a batch of events changes in the tables, gathered per row, and what cannot be projected. Pure."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Table

from schemas.events import DeadReason, ExecutionEvent
from services.recorder.known import KnownExecution, KnownRows, Row, misfit
from services.unusable import DeadLetter


class Unprojectable(Exception):
    """A message that must not change a row: it becomes a dead letter."""

    def __init__(self, reason: DeadReason, error: str) -> None:
        super().__init__(error)
        self.reason: DeadReason = reason


class Changes:
    """What a batch of events changes. Rows are dicts by column name."""

    def __init__(self, known: KnownRows) -> None:
        self.known = known
        self.dead_letters: list[DeadLetter] = []
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
        self.outcomes: dict[str, Row] = {}  # by command
        self.new_deliveries: dict[str, Row] = {}
        self.delivery_changes: dict[str, Row] = {}
        self.prune_before: datetime | None = None

    def identify(self, identity: str, number: int = 1) -> None:
        """Remember that the log has this, for as long as there are tables."""
        self.identities[identity] = self.known.identities[identity] = number


def fitting(table: Table, row: Row) -> Row:
    """Return a row that every database takes. Raises `Unprojectable` for one that some do not."""
    if error := misfit(table, row):
        raise Unprojectable("unusable", error)
    return row


def execution_of(changes: Changes, event: ExecutionEvent) -> KnownExecution | None:
    """Return what is known of an event's execution, None when it is gone: deleted with its flow, or pruned.

    Raises `Unprojectable` when it never was.
    """
    execution = changes.known.executions.get(event.execution_id)
    if execution is None and f"execution/{event.execution_id}" not in changes.known.identities:
        raise Unprojectable("unusable", f"execution {event.execution_id} never began")
    return execution
