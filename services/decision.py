"""A decision: one event to append, with the time and the id of what led to it. Pure."""

from __future__ import annotations

from datetime import datetime

from bus.subjects import guard_of, id_of, subject_of
from schemas.base import Value
from schemas.events import (
    BackupRequested,
    Event,
    ExecutionEvent,
    FlowBackfillCancelled,
    FlowBackfilling,
    FlowDue,
    Rejected,
)
from schemas.ids import scheduled_execution_id

LIMIT = 1000  # messages in one atomic batch


class Decision(Value, frozen=True, kw_only=True):
    """One event to append.

    `cause` is the id of what led to it, `actor` who requested it. `name`: an id of its own, where another service
    appends events under the table's id. `correlation`: what it belongs to, where its own fields do not have it.
    """

    event: Event
    time: datetime
    cause: str | None = None
    actor: str | None = None
    correlation: str | None = None
    name: str | None = None

    @property
    def id(self) -> str:
        """The envelope's id: the same decision always has the same one."""
        return self.name or id_of(self.event, self.cause or "")

    @property
    def guard(self) -> str:
        """The subject filter whose last sequence the append expects.

        Workers report ends without a guard; the executor's end of a backup whose worker is silent needs one.
        """
        return guard_of(self.event) or subject_of(self.event)

    @property
    def is_taken_over(self) -> bool:
        """Whether each of its fields stands in a message that was read, within the same bounds: then it can be read.

        A first request is; what has counted or calculated is to be checked before it is appended.
        """
        return isinstance(self.event, BackupRequested) and self.event.round == 1

    @property
    def belongs_to(self) -> str | None:
        """The id that is shared by all that belongs to one execution, one backfill, or one command."""
        match self.event:
            case _ if self.correlation is not None:
                return self.correlation
            case ExecutionEvent():
                return self.event.execution_id
            case FlowDue():
                return scheduled_execution_id(self.event.flow_id, self.event.occurrence)
            case FlowBackfilling() | FlowBackfillCancelled():
                return self.event.backfill_id
            case Rejected():
                return self.event.id
            case _:
                return None


Batch = list[Decision]  # all of it is appended, or nothing
