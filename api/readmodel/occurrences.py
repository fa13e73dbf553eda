"""What became of a flow's occurrences, and which of them a backfill is to execute.

A flow has up to half a million of them in a year, each with messages of its own. So the database picks and orders the
first or the last; no more than these are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Select, case, exists, func, select

from api.readmodel import calendar
from api.readmodel.reader import Reader, TooMuch, consistent
from api.responses.calendar import OccurrenceList, OccurrenceOutcome
from schemas import tables as t
from schemas.definitions import Schedule
from schemas.events import FlowDue, FlowMissed, FlowSkipped
from schemas.ids import instant, scheduled_execution_id
from services.scheduler import calendar as times

MOST = 2_000  # occurrences in one response
AHEAD = 1_000  # of them, those to come
SEARCHED = 20_000  # occurrences that a backfill looks through
_MESSAGES = 3  # that one occurrence has, seldom more: so many are read for each
_INSTANT = timedelta(microseconds=1)
_TYPES = ("flow.due", "flow.skipped", "flow.missed")
_SECOND = len("2026-10-09T02:00:00")

Found = dict[datetime, OccurrenceOutcome]


def flows() -> Select[*tuple[Any, ...]]:
    """Select flows with what `calendar.upcoming` needs."""
    f = t.protection_flows
    return select(f.c.id, f.c.name, f.c.enabled, f.c.armed_at, f.c.schedule_id)


@consistent
async def outcomes(
    reader: Reader, flow_id: str, since: datetime, until: datetime, now: datetime
) -> OccurrenceList | None:
    """Return a flow's first occurrences in a range: those that passed with their outcome, and those to come.

    None when there is no such flow.
    """
    flow = await reader.row(flows().where(t.protection_flows.c.id == flow_id))
    if flow is None:
        return None
    found, complete = await _past(reader, flow_id, since, until, most=MOST)
    if complete:
        schedule = (await calendar.schedules(reader, [flow["schedule_id"]])).get(flow["schedule_id"] or "")
        frozen, budget = await calendar.freeze(reader), times.Budget(calendar.LOOKS)
        coming = calendar.upcoming(flow, schedule, max(now, since), frozen, budget)
        expected = 0
        for at, fires_at in coming:
            if fires_at > until or expected > AHEAD:
                complete = fires_at > until
                break
            if at not in found and at >= since:
                found[at] = OccurrenceOutcome(occurrence=at, fires_at=fires_at, outcome="expected")
                expected += 1
    in_order = [found[at] for at in sorted(found)]
    return OccurrenceList(occurrences=in_order[:MOST], complete=complete and len(in_order) <= MOST)


@consistent
async def last(reader: Reader, flow_id: str, since: datetime, until: datetime) -> OccurrenceOutcome | None:
    """Return the outcome of a flow's last occurrence in a range that has one, None when none has."""
    found, _ = await _past(reader, flow_id, since, until, most=1, newest=True)
    return found[max(found)] if found else None


async def _past(
    reader: Reader, flow_id: str, since: datetime, until: datetime, *, most: int, newest: bool = False
) -> tuple[Found, bool]:
    """Return the outcomes of the first or last occurrences in a range, and whether these are all.

    Of what was executed more than once (a backfill), the last execution counts.
    """
    rows_of_messages = await _messages(reader, flow_id, since, until, most * _MESSAGES + 1, newest=newest)
    executions = await _executions(reader, flow_id, since, until, most + 1, newest=newest)
    read: list[tuple[list[OccurrenceOutcome], bool]] = [
        ([one for one in map(_outcome, rows_of_messages) if one], len(rows_of_messages) > most * _MESSAGES),
        ([_executed(row) for row in executions], len(executions) > most),
    ]
    found: Found = {}
    for outcomes_, _ in read:
        for one in outcomes_:
            if one.outcome != "due" or one.occurrence not in found:
                found[one.occurrence] = one
    kept = {at: one for at, one in found.items() if since <= at < until}
    # where a part was cut, what is at its end and beyond may be incomplete
    ends = [(min if newest else max)(one.occurrence for one in part) for part, cut in read if cut and part]
    if ends:
        end = max(ends) if newest else min(ends)
        before = {at: one for at, one in kept.items() if (at > end if newest else at < end)}
        kept = before or {at: one for at, one in kept.items() if at == end}
    return kept, not ends


async def _messages(
    reader: Reader, flow_id: str, since: datetime, until: datetime, most: int, *, newest: bool
) -> list[dict[str, Any]]:
    ev = t.events
    # an event of a range that was missed is about its first occurrence
    at = func.coalesce(reader.text_in(ev.c.body, "data", "occurrence"), reader.text_in(ev.c.body, "data", "first"))
    second = case((ev.c.type.in_(_TYPES), func.substr(at, 1, _SECOND)))  # other bodies may be no JSON
    order = (second.desc(), ev.c.sequence.desc()) if newest else (second, ev.c.sequence)
    statement = (
        select(ev.c.sequence, ev.c.type, ev.c.body)
        .where(ev.c.key == flow_id, ev.c.type.in_(_TYPES))
        .where(ev.c.time >= since)  # an outcome is never earlier than its occurrence
        .where(second >= instant(since)[:_SECOND], second <= instant(until)[:_SECOND])
        .order_by(*order)
        .limit(most)
    )
    return sorted(await reader.mappings(statement), key=lambda row: row["sequence"])


async def _executions(
    reader: Reader, flow_id: str, since: datetime, until: datetime, most: int, *, newest: bool
) -> list[dict[str, Any]]:
    e = t.executions
    order = (e.c.occurrence.desc(), e.c.started_at.desc()) if newest else (e.c.occurrence, e.c.started_at)
    statement = (
        select(e.c.id, e.c.occurrence, e.c.status, e.c.started_at, e.c.error_message)
        .where(e.c.flow_id == flow_id, e.c.occurrence >= since, e.c.occurrence < until, e.c.started_at.is_not(None))
        .order_by(*order)
        .limit(most)
    )
    return sorted(await reader.mappings(statement), key=lambda row: row["started_at"])


class _Body(msgspec.Struct):
    data: FlowDue | FlowSkipped | FlowMissed


def _outcome(row: Mapping[str, Any]) -> OccurrenceOutcome | None:
    match msgspec.json.decode(row["body"], type=_Body).data:
        case FlowDue() as due:
            id_ = scheduled_execution_id(due.flow_id, due.occurrence)
            return OccurrenceOutcome(occurrence=due.occurrence, outcome="due", execution_id=id_)
        case FlowSkipped(occurrence=datetime() as at) as skipped:
            return OccurrenceOutcome(occurrence=at, outcome="skipped", reason=f"{skipped.reason}: {skipped.message}")
        case FlowMissed() as missed:
            return OccurrenceOutcome(occurrence=missed.first, last=missed.last, count=missed.count, outcome="missed")
        case _:
            return None


def _executed(row: Mapping[str, Any]) -> OccurrenceOutcome:
    return OccurrenceOutcome(
        occurrence=row["occurrence"],
        outcome="executed",
        execution_id=row["id"],
        status=row["status"],
        started_at=row["started_at"],
        reason=row["error_message"],
    )


@consistent
async def to_fill(reader: Reader, flow_id: str, since: datetime, until: datetime, mode: str) -> list[datetime] | None:
    """Return the past occurrences of a flow's schedule that a backfill is to execute; None without a schedule.

    `missing`: those without an execution. `failed`: those whose last execution failed or was cancelled. `all`: all.
    Raises `TooMuch`.
    """
    flow = await reader.row(flows().where(t.protection_flows.c.id == flow_id))
    schedule = None
    if flow is not None and flow["schedule_id"] is not None:
        schedule = (await calendar.schedules(reader, [flow["schedule_id"]])).get(flow["schedule_id"])
    if schedule is None:
        return None
    occurrences = _in_range(schedule, since, until)
    e, later = t.executions, t.executions.alias("later")
    same = (later.c.flow_id == flow_id) & (later.c.occurrence == e.c.occurrence)
    executed = select(e.c.occurrence, e.c.status).where(
        e.c.flow_id == flow_id,
        e.c.occurrence >= since,
        e.c.occurrence < until,
        e.c.started_at.is_not(None),
        ~exists().where(same & (later.c.started_at > e.c.started_at)),
    )
    status = {row.occurrence: row.status for row in await reader.rows(executed)}
    wanted = {
        "missing": lambda at: at not in status,
        "failed": lambda at: status.get(at) in {"error", "cancelled"},
        "all": lambda _: True,
    }[mode]
    return [at for at in occurrences if wanted(at)]


def _in_range(schedule: Schedule, since: datetime, until: datetime) -> list[datetime]:
    """Return the occurrences of a schedule from `since` up to `until`. Raises `TooMuch`."""
    found = times.of(schedule)
    just_before, end = since - _INSTANT, until - _INSTANT
    number = found.tally(just_before, end, 1).count
    if number > SEARCHED:
        raise TooMuch(f"a range with {number:,} occurrences", f"{SEARCHED:,}; shorten the range")
    return list(islice(found.occurrences(just_before, end), number))
