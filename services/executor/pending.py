"""What the log has no outcome for yet: triggers of executions, and commands that stop or backfill. Pure."""

from __future__ import annotations

from datetime import datetime

from schemas.base import Value
from schemas.commands import BackupVm, CancelBackfill, CreateBackfill
from schemas.events import ExecutionType, FlowStarted


class Trigger(Value, frozen=True, kw_only=True):
    """A request for an execution: an occurrence that is due, a command, or an occurrence of a backfill.

    `retry_of` and `only`: over these VMs of an earlier execution. `ad_hoc`: of one VM, outside any flow. `late`: when
    its start deadline passed. `buffered`: that it waits is on the log.
    """

    sequence: int
    time: datetime
    execution_id: str
    flow_id: str
    execution_type: ExecutionType
    occurrence: datetime | None
    triggered_by: str
    cause: str  # id of the message
    retry_of: str | None = None
    only: frozenset[str] | None = None
    ad_hoc: BackupVm | None = None
    late: datetime | None = None
    backfill_id: str | None = None
    max_concurrent: int = 1  # executions of the backfill
    cancelled: str | None = None  # why it, or the backfill that it is of, was cancelled
    buffered: bool = False
    outdated: bool = False  # its scheduler had not seen a change of definitions after which the flow was not due


class PendingBackfill(Value, frozen=True, kw_only=True):
    """A command that begins or stops a backfill. `flow_known`: its flow existed when it came."""

    sequence: int
    command: CreateBackfill | CancelBackfill
    actor: str
    cause: str
    flow_known: bool


class PendingCancel(Value, frozen=True, kw_only=True):
    """A command that stops an execution, or one VM of it.

    `open`: the backup of this one VM was waiting or in flight when the command came. So every executor takes the same
    decision, however late, although workers report on other subjects than the decision is guarded by.
    """

    sequence: int
    execution_id: str
    context_id: str | None
    actor: str
    cause: str
    open: bool


def group_of(one: FlowStarted | Trigger) -> str:
    """Return what an execution counts as running for: its backfill, which has a concurrency of its own, or its flow."""
    return one.backfill_id or one.flow_id
