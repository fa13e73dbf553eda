"""Flows side by side: what they ran in a range of time, and what they will run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice, takewhile
from typing import Any

from sqlalchemy import Select, func, or_, select

from api.readmodel import calendar
from api.readmodel.reader import Page, Reader, consistent, containing, labelled
from api.responses.timeline import Bar, BarKind, Coming, FlowTimeline, Timeline
from schemas import tables as t
from schemas.base import Value
from schemas.definitions import Schedule
from services.scheduler.calendar import Budget

BARS = 200  # of a flow, the newest of a range
AHEAD = 100  # occurrences of a flow, the first to come


class TimelineFilter(Value, frozen=True, kw_only=True):
    """Which flows; `q` is a part of the name."""

    label: str | None = None
    repository_id: str | None = None
    q: str | None = None


@consistent
async def find(
    reader: Reader, wanted: TimelineFilter, since: datetime, until: datetime, page: Page, now: datetime
) -> Timeline:
    """Return a page of flows by name, each with its executions in a range, and its occurrences to come in it."""
    f = t.protection_flows
    flows, total = await reader.page(_flows(wanted), page, [f.c.labels])
    ids = [flow["id"] for flow in flows]
    bars = await _bars(reader, ids, since, until)
    frozen, durations = await calendar.freeze(reader), await calendar.expected_seconds(reader, ids)
    known = await calendar.schedules(reader, (flow["schedule_id"] for flow in flows))
    budget = Budget(calendar.LOOKS)
    shown: list[FlowTimeline] = []
    for flow in flows:
        schedule = known.get(flow["schedule_id"] or "")
        ahead = _coming(flow, schedule, max(now, since), until, frozen, budget, durations.get(flow["id"]))
        mine = bars[flow["id"]]
        shown.append(
            FlowTimeline(
                flow_id=flow["id"],
                flow_name=flow["name"],
                labels=flow["labels"],
                enabled=flow["enabled"],
                repository_id=flow["repository_id"],
                repository_name=flow["repository_name"],
                bars=mine[:BARS][::-1],
                more=len(mine) > BARS,
                coming=ahead[:AHEAD],
                more_coming=len(ahead) > AHEAD or budget.left <= 0,
            )
        )
    return Timeline(from_=since, to=until, now=now, flows=shown, total=total, freeze=calendar.in_force(frozen, now))


def _flows(wanted: TimelineFilter) -> Select[*tuple[Any, ...]]:
    f, r = t.protection_flows, t.repositories
    columns = (f.c.id, f.c.name, f.c.labels, f.c.enabled, f.c.armed_at, f.c.schedule_id, f.c.repository_id)
    statement = select(*columns, r.c.name.label("repository_name")).outerjoin(r, r.c.id == f.c.repository_id)
    if wanted.q is not None:
        statement = statement.where(containing(f.c.name, wanted.q))
    if wanted.label is not None:
        statement = statement.where(labelled(f.c.labels, wanted.label))
    if wanted.repository_id is not None:
        statement = statement.where(f.c.repository_id == wanted.repository_id)
    return statement.order_by(f.c.name, f.c.id)


async def _bars(
    reader: Reader, flow_ids: Sequence[str], since: datetime, until: datetime
) -> defaultdict[str, list[Bar]]:
    """Return the newest executions of each of some flows that are in a range, one more than are shown."""
    e = t.executions
    columns = (e.c.id, e.c.flow_id, e.c.execution_type, e.c.retry_of, e.c.backfill_id, e.c.occurrence, e.c.created_at)
    columns = (*columns, e.c.started_at, e.c.completed_at, e.c.status, e.c.bytes_transferred)
    number = func.row_number().over(partition_by=e.c.flow_id, order_by=(e.c.created_at.desc(), e.c.id.desc()))
    within = (e.c.created_at < until, or_(e.c.completed_at.is_(None), e.c.completed_at >= since))
    numbered = select(*columns, number.label("number")).where(e.c.flow_id.in_(flow_ids), *within).subquery()
    statement = select(numbered).where(numbered.c.number <= BARS + 1).order_by(numbered.c.number)
    found: defaultdict[str, list[Bar]] = defaultdict(list)
    for row in await reader.mappings(statement):
        found[row["flow_id"]].append(_bar(row))
    return found


def _bar(row: Mapping[str, Any]) -> Bar:
    return Bar(
        execution_id=row["id"],
        execution_type=row["execution_type"],
        kind=kind_of(row),
        occurrence=row["occurrence"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        status=row["status"],
        bytes=row["bytes_transferred"],
    )


def kind_of(row: Mapping[str, Any]) -> BarKind:
    """Return what an execution came from."""
    if row["retry_of"] is not None:
        return "retry"
    if row["backfill_id"] is not None:
        return "backfill"
    return "scheduled" if row["execution_type"] == "scheduled" else "manual"


def _coming(
    flow: Mapping[str, Any],
    schedule: Schedule | None,
    after: datetime,
    until: datetime,
    frozen: calendar.Freeze | None,
    budget: Budget,
    seconds: float | None,
) -> list[Coming]:
    """Return the first occurrences of a flow to come up to an instant, one more than are shown."""
    found = calendar.coming(flow, schedule, after, frozen, budget)
    turns = ((calendar.turn(one, flow, schedule), one) for one in found)
    first: Iterable[Any] = islice(takewhile(lambda found: found[0] <= until, turns), AHEAD + 1)
    return [
        Coming(at=at, occurrence=one.occurrence, outcome=one.outcome, reason=one.reason, expected_seconds=seconds)
        for at, one in first
    ]
