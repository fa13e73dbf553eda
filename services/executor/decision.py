"""A decision of the executor: one event to append, with the time and the id of what led to it."""

from __future__ import annotations

from datetime import datetime

from bus.subjects import guard_of, subject_of
from schemas.base import Value
from schemas.events import (
    BackupCancelled,
    BackupFailed,
    BackupRequested,
    BackupSkipped,
    FlowBackfillCancelled,
    FlowBackfilling,
    FlowCancelling,
    FlowCompleted,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    Rejected,
)

Decided = (
    FlowStarted
    | FlowPlanned
    | FlowSkipped
    | FlowCancelling
    | FlowBackfilling
    | FlowBackfillCancelled
    | FlowCompleted
    | BackupRequested
    | BackupSkipped
    | BackupFailed
    | BackupCancelled
    | Rejected
)


class Decision(Value, frozen=True, kw_only=True):
    """One event to append. `cause` is the id of what led to it, `actor` who asked for it."""

    event: Decided
    time: datetime
    cause: str
    actor: str | None = None

    @property
    def id(self) -> str:
        """The event's id: the same decision has the same one, whoever takes it and however often."""
        match self.event:
            case BackupRequested():
                return f"requested:{self.event.backup_id}"
            case BackupSkipped():
                return f"skipped:{self.event.backup_id}"
            case BackupFailed() | BackupCancelled():
                return f"closed:{self.event.backup_id}"
            case FlowStarted():
                return f"started:{self.event.execution_id}"
            case FlowPlanned():
                return f"planned:{self.event.execution_id}:{self.event.part}"
            case FlowSkipped():
                return f"skipped:{self.event.execution_id}"
            case FlowCompleted():
                return f"completed:{self.event.execution_id}"
            case FlowCancelling():
                vm = f":{self.event.context_id}" if self.event.context_id else ""
                return f"cancelling:{self.event.execution_id}{vm}"
            case FlowBackfilling():
                return f"backfilling:{self.event.backfill_id}"
            case FlowBackfillCancelled():
                return f"backfill_cancelled:{self.event.backfill_id}"
            case Rejected():
                return f"rejected:{self.event.verb}:{self.event.id}"

    @property
    def guard(self) -> str:
        """The subject filter whose last sequence the append expects.

        Workers report ends without a guard; the executor's word on a backup that no worker answers for needs one.
        """
        return guard_of(self.event) or subject_of(self.event)


BATCH = 1000  # messages in one atomic batch

Batch = list[Decision]
