"""When flows run, by the scheduler's own calendar; and what became of the occurrences that have passed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, func, select

from api.readmodel.reader import Reader, consistent, shaped
from api.responses.calendar import CalendarEntry, CalendarResponse, FreezeResponse, OccurrenceList, OccurrenceOutcome
from schemas import tables as t
from schemas.definitions import CALENDAR_FIELDS, ScheduleSpec
from schemas.events import FlowDue, FlowMissed, FlowSkipped
from schemas.ids import ENGINE, scheduled_execution_id
from services.scheduler import calendar

MOST = 5_000  # entries in one response
AHEAD = 1_000  # future occurrences of one flow in one response


class Freeze(FreezeResponse, frozen=True, kw_only=True):
    """A freeze that is in force or has ended."""

    def covers(self, *moments: datetime) -> bool:
        return any(self.since <= moment < self.until for moment in moments)


def columns() -> list[ColumnElement[Any]]:
    """Return the columns of a flow's schedule that `upcoming` needs, beside the flow's own."""
    fields = (*CALENDAR_FIELDS, "enabled", "armed_at", "name")
    return [t.schedules.c[field].label(f"schedule_{field}") for field in fields]


def schedule_of(row: Mapping[str, Any]) -> ScheduleSpec | None:
    """Return the schedule that fires a flow, from a row with `columns()`; None when nothing does."""
    if not row["enabled"] or not row["schedule_enabled"]:
        return None
    defaults = {"description": "", "enabled": True, "catch_up": "last", "catch_up_window_seconds": 0}
    fields = {field: row[f"schedule_{field}"] for field in (*CALENDAR_FIELDS, "name")}
    return shaped(ScheduleSpec, {**defaults, "max_concurrent_jobs": None, **fields})


def why_not(row: Mapping[str, Any]) -> str | None:
    """Return why nothing runs a flow by itself, None when something does."""
    if not row["enabled"]:
        return "the flow is disabled"
    if row["schedule_id"] is None:
        return "the flow has no schedule"
    if not row["schedule_enabled"]:
        return f"schedule {row['schedule_name']!r} is disabled"
    return None


def upcoming(
    row: Mapping[str, Any], now: datetime, freeze: Freeze | None, until: datetime | None = None
) -> Iterator[tuple[datetime, datetime]]:
    """Yield the occurrences of a flow that fire after `now`, each with the instant at which it does."""
    schedule = schedule_of(row)
    if schedule is None:
        return
    jitter = calendar.jitter(schedule, row["id"])
    since = max(now - jitter, row["armed_at"], row["schedule_armed_at"])
    for at in calendar.occurrences(schedule, since, None if until is None else until - jitter):
        if freeze is None or not freeze.covers(at, at + jitter):
            yield at, at + jitter


async def freeze(reader: Reader) -> Freeze | None:
    """Return the freeze, None when there is none or it was lifted."""
    row = await reader.row(select(t.freezes).where(t.freezes.c.id == ENGINE))
    return None if row is None else shaped(Freeze, row)


def _flows() -> Select[Any]:
    f = t.protection_flows
    return select(f.c.id, f.c.name, f.c.enabled, f.c.armed_at, f.c.schedule_id, *columns()).join(
        t.schedules, t.schedules.c.id == f.c.schedule_id
    )


@consistent
async def over_all(reader: Reader, since: datetime, until: datetime, now: datetime) -> CalendarResponse:
    """Return what will run from `since` (or now, if that is later) to `until`, over all flows."""
    frozen = await freeze(reader)
    rows = await reader.mappings(_flows().where(t.protection_flows.c.enabled, t.schedules.c.enabled))
    durations = await _durations(reader)
    start = max(since, now)

    def entries(row: Mapping[str, Any]) -> Iterator[CalendarEntry]:
        for at, fires_at in upcoming(row, start, frozen, until):
            yield CalendarEntry(
                flow_id=row["id"],
                flow_name=row["name"],
                schedule_id=row["schedule_id"],
                occurrence=at,
                fires_at=fires_at,
                expected_seconds=durations.get(row["id"]),
            )

    in_order = merge(*(entries(row) for row in rows), key=lambda entry: entry.fires_at)
    found = list(islice(in_order, MOST + 1))
    return CalendarResponse(entries=found[:MOST], complete=len(found) <= MOST, freeze=_open(frozen, now))


def _open(frozen: Freeze | None, now: datetime) -> FreezeResponse | None:
    return frozen if frozen is not None and frozen.until > now else None


async def _durations(reader: Reader) -> dict[str, float]:
    """Return how long each flow's executions took on average, in seconds."""
    e = t.executions
    seconds = reader.seconds_between(e.c.started_at, e.c.completed_at)
    statement = (
        select(e.c.flow_id, func.avg(seconds).label("seconds"))
        .where(e.c.status.in_(("success", "warning")), e.c.flow_id.is_not(None))
        .group_by(e.c.flow_id)
    )
    return {row["flow_id"]: round(float(row["seconds"]), 3) for row in await reader.mappings(statement)}


@consistent
async def outcomes(
    reader: Reader, flow_id: str, since: datetime, until: datetime, now: datetime
) -> OccurrenceList | None:
    """Return a flow's occurrences in a range: those that have passed with what became of them, and those to come."""
    row = await reader.row(flows_of_any().where(t.protection_flows.c.id == flow_id))
    if row is None:
        return None
    found = {one.occurrence: one for one in await _past(reader, flow_id, since, until)}
    frozen = await freeze(reader)
    for at, fires_at in islice(upcoming(row, max(now, since), frozen, until), AHEAD):
        if at not in found and at >= since:
            found[at] = OccurrenceOutcome(occurrence=at, fires_at=fires_at, outcome="expected")
    return OccurrenceList(occurrences=[found[at] for at in sorted(found)])


def flows_of_any() -> Select[Any]:
    """Select flows with what `upcoming` needs, those without a schedule too."""
    f = t.protection_flows
    return select(f.c.id, f.c.name, f.c.enabled, f.c.armed_at, f.c.schedule_id, *columns()).outerjoin(
        t.schedules, t.schedules.c.id == f.c.schedule_id
    )


async def _past(reader: Reader, flow_id: str, since: datetime, until: datetime) -> list[OccurrenceOutcome]:
    """Return the outcomes on the log. Of what was executed more than once (a backfill), the last execution counts."""
    found: dict[datetime, OccurrenceOutcome] = {}
    ev, e = t.events, t.executions
    wanted = ("flow.due", "flow.skipped", "flow.missed")
    # an outcome is never earlier than its occurrence
    rows = await reader.mappings(
        select(ev.c.type, ev.c.body)
        .where(ev.c.key == flow_id, ev.c.type.in_(wanted), ev.c.time >= since)
        .order_by(ev.c.sequence)
    )
    for row in rows:
        event = _event(row)
        match event:
            case FlowDue():
                waiting = OccurrenceOutcome(occurrence=event.occurrence, outcome="due", execution_id=_id(event))
                found.setdefault(event.occurrence, waiting)
            case FlowSkipped() if event.occurrence is not None:
                found[event.occurrence] = OccurrenceOutcome(
                    occurrence=event.occurrence, outcome="skipped", reason=f"{event.reason}: {event.message}"
                )
            case FlowMissed():
                found[event.first] = OccurrenceOutcome(
                    occurrence=event.first, last=event.last, count=event.count, outcome="missed"
                )
            case _:
                pass
    executed = select(e).where(e.c.flow_id == flow_id, e.c.occurrence >= since, e.c.occurrence < until)
    for row in await reader.mappings(executed.order_by(e.c.started_at)):
        found[row["occurrence"]] = OccurrenceOutcome(
            occurrence=row["occurrence"],
            outcome="executed",
            execution_id=row["id"],
            status=row["status"],
            started_at=row["started_at"],
            reason=row["error_message"],
        )
    return [one for one in found.values() if since <= one.occurrence < until]


def _id(event: FlowDue) -> str:
    return scheduled_execution_id(event.flow_id, event.occurrence)


class _Body(msgspec.Struct):
    data: FlowDue | FlowSkipped | FlowMissed


def _event(row: Mapping[str, Any]) -> FlowDue | FlowSkipped | FlowMissed:
    return msgspec.json.decode(row["body"], type=_Body).data


@consistent
async def to_fill(reader: Reader, flow_id: str, since: datetime, until: datetime, mode: str) -> list[datetime] | None:
    """Return the past occurrences of a flow's schedule that a backfill is to execute; None without a schedule.

    `missing`: those without an execution. `failed`: those whose last execution failed or was cancelled. `all`: all.
    """
    row = await reader.row(_flows().where(t.protection_flows.c.id == flow_id))
    if row is None:
        return None
    schedule = schedule_of({**row, "enabled": True, "schedule_enabled": True})
    assert schedule is not None
    e = t.executions
    executed = select(e.c.occurrence, e.c.status).where(
        e.c.flow_id == flow_id, e.c.occurrence >= since, e.c.occurrence < until
    )
    status = {row["occurrence"]: row["status"] for row in await reader.mappings(executed.order_by(e.c.started_at))}
    wanted = {
        "missing": lambda at: at not in status,
        "failed": lambda at: status.get(at) in {"error", "cancelled"},
        "all": lambda _: True,
    }[mode]
    just_before, last = since - timedelta(microseconds=1), until - timedelta(microseconds=1)
    return [at for at in calendar.occurrences(schedule, just_before, last) if wanted(at)]
