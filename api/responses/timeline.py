"""What ran, what runs and what will, of many flows side by side."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import field

from api.responses.calendar import FreezeResponse
from schemas.base import Value
from schemas.events import ExecutionStatus, ExecutionType

BarKind = Literal["scheduled", "manual", "backfill", "retry"]


class Bar(Value, frozen=True, kw_only=True):
    """An execution. `started_at` is null while it waits for its turn, since `created_at`; `occurrence`: whose it is."""

    execution_id: str
    execution_type: ExecutionType
    kind: BarKind
    occurrence: datetime | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    status: ExecutionStatus
    bytes: int


class Coming(Value, frozen=True, kw_only=True):
    """An occurrence to come. `at`: when its flow's turn is, with jitter; `outcome`: `expected`, `frozen`, `excluded`.

    `expected_seconds`: how long the flow's executions took on average; null when none did. `reason`: why it will not
    run.
    """

    at: datetime
    occurrence: datetime
    outcome: str
    reason: str | None
    expected_seconds: float | None


class FlowTimeline(Value, frozen=True, kw_only=True):
    """A flow's bars, the newest last, and what is to come. `more`: there are more bars, `more_coming`: more to come."""

    flow_id: str
    flow_name: str
    labels: dict[str, str]
    enabled: bool
    repository_id: str | None
    repository_name: str | None
    bars: list[Bar]
    more: bool
    coming: list[Coming]
    more_coming: bool


class Timeline(Value, frozen=True, kw_only=True):
    """Flows by name, each with what it ran and will run in a range; `total` is how many flows match."""

    from_: datetime = field(name="from")
    to: datetime
    now: datetime
    flows: list[FlowTimeline]
    total: int
    freeze: FreezeResponse | None
