"""Time: what will run, what became of occurrences, and the freeze."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from schemas.base import Value
from schemas.events import ExecutionStatus

Outcome = Literal["executed", "skipped", "missed", "due", "expected", "frozen", "excluded"]


class NextRun(Value, frozen=True, kw_only=True):
    """An instant in UTC and in the schedule's zone.

    `note`: `shifted` or `repeated` by a change of the clocks; `excluded: <name>`: it matches, and does not fire.
    """

    at: datetime
    local: str
    note: str | None


class SchedulePreview(Value, frozen=True, kw_only=True):
    next_runs: list[NextRun]


class OccurrenceOutcome(Value, frozen=True, kw_only=True):
    """An occurrence, the nominal instant, and what became of it, or will.

    `outcome` of one that passed: `executed` (then `status` is the execution's), `skipped` or `missed` with the reason,
    or `due` (on the log, without an outcome yet). Of one to come: `expected`, at `fires_at`; or `frozen` or `excluded`
    with the reason, as it falls into a freeze or an exclusion of its schedule: it does not begin. A range that was
    missed is one entry, from `occurrence` to `last`.
    """

    occurrence: datetime
    outcome: Outcome
    fires_at: datetime | None = None
    execution_id: str | None = None
    status: ExecutionStatus | None = None
    started_at: datetime | None = None
    reason: str | None = None
    last: datetime | None = None
    count: int = 1


class OccurrenceList(Value, frozen=True, kw_only=True):
    """Occurrences in order. `complete`: the range holds no more than is shown."""

    occurrences: list[OccurrenceOutcome]
    complete: bool


class FreezeResponse(Value, frozen=True, kw_only=True):
    """No scheduled start from `since` until `until`."""

    since: datetime
    until: datetime
    reason: str
    created_by: str


class CalendarEntry(OccurrenceOutcome, frozen=True, kw_only=True):
    """An occurrence of a flow. `expected_seconds`: how long its executions took on average; null when none did."""

    flow_id: str
    flow_name: str
    schedule_id: str | None
    expected_seconds: float | None


class CalendarResponse(Value, frozen=True, kw_only=True):
    """What became of occurrences, and what will, in order. `complete`: the range holds no more than is shown."""

    entries: list[CalendarEntry]
    complete: bool
    freeze: FreezeResponse | None
