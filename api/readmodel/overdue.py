"""Overdue flows: those whose last success is older than their own schedule promises.

After a success the next one is expected with the first occurrence that follows. From half an interval later on, at
least five minutes and at most six hours, the flow is overdue: the interval is that to the occurrence after it, so a
flow of workdays is not overdue on a Sunday. One that nothing is to run (disabled, or its schedule, or frozen) is not.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from api.readmodel.reader import Reader, consistent
from schemas import tables as t
from schemas.base import Value
from schemas.ids import ENGINE
from services.recorder.coming import TIMES, spec_of
from services.scheduler import calendar

SOONEST, LATEST = timedelta(minutes=5), timedelta(hours=6)  # after an occurrence, until a flow is overdue
REMEMBERED = 20_000  # flows
AT_ONCE = 50  # flows that are calculated before others have their turn


class Promise(Value, frozen=True, kw_only=True):
    """What a flow's schedule promises after its last success: when it is overdue, and the interval. None: nothing."""

    overdue_at: datetime | None
    interval: timedelta | None


class FlowLateness(Value, frozen=True, kw_only=True):
    """How a flow is. `last_success`: when the last execution that was successful began."""

    flow_id: str
    name: str
    last_success: datetime | None
    interval: timedelta | None
    overdue: bool


def promise(schedule: Mapping[str, Any], after: datetime) -> Promise:
    """Return what a schedule's row promises after an instant."""
    spec = spec_of(schedule)
    first = calendar.next_occurrence(spec, after)
    if first is None:
        return Promise(overdue_at=None, interval=None)
    second = calendar.next_occurrence(spec, first)
    interval = None if second is None else second - first
    late = LATEST if interval is None else grace(interval)
    return Promise(overdue_at=first + timedelta(seconds=spec.jitter_seconds) + late, interval=interval)


def grace(interval: timedelta) -> timedelta:
    """Return how long after an occurrence a success may come that is expected at such an interval."""
    return min(max(interval / 2, SOONEST), LATEST)


class Overdue:
    """Finds overdue flows, and remembers what schedules promise: it changes with a success or a definition only."""

    def __init__(self) -> None:
        self._promises: OrderedDict[tuple[Any, ...], Promise] = OrderedDict()

    async def find(self, reader: Reader, now: datetime) -> list[FlowLateness]:
        """Return how each enabled flow with a schedule is, those that are overdue first, then by name."""
        frozen, rows = await _rows(reader)
        found: list[FlowLateness] = []
        for number, row in enumerate(rows):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            found.append(self._lateness(row, frozen, now))
        return sorted(found, key=lambda one: (not one.overdue, one.name))

    def _lateness(self, row: Mapping[str, Any], frozen: Mapping[str, Any] | None, now: datetime) -> FlowLateness:
        begun = [row["armed_at"], row["schedule_armed_at"], row["last_success"]]
        paused = frozen is not None and frozen["since"] <= now < frozen["until"]
        if frozen is not None and frozen["until"] <= now:
            begun.append(frozen["until"])
        after = max(at for at in begun if at is not None)
        key = (row["flow_id"], row["schedule_id"], row["schedule_version"], after)
        promised = self._promises.get(key)
        if promised is None:
            promised = self._promises[key] = promise(row, after)
            while len(self._promises) > REMEMBERED:
                self._promises.popitem(last=False)
        return FlowLateness(
            flow_id=row["flow_id"],
            name=row["flow_name"],
            last_success=row["last_success"],
            interval=promised.interval,
            overdue=not paused and promised.overdue_at is not None and now > promised.overdue_at,
        )


@consistent
async def _rows(reader: Reader) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the freeze, and each enabled flow with its enabled schedule and its last success."""
    f, s, e = t.protection_flows, t.schedules, t.executions
    newest = select(e.c.started_at).where(e.c.flow_id == f.c.id, e.c.status.in_(("success", "warning")))
    last = newest.order_by(e.c.created_at.desc()).limit(1).scalar_subquery()
    about = (
        *(f.c.id.label("flow_id"), f.c.name.label("flow_name"), f.c.armed_at, f.c.schedule_id),
        *(s.c.armed_at.label("schedule_armed_at"), s.c.version.label("schedule_version"), last.label("last_success")),
    )
    flows = select(*about, *(s.c[name] for name in TIMES)).join(s, s.c.id == f.c.schedule_id)
    rows = await reader.mappings(flows.where(f.c.enabled, s.c.enabled))
    frozen = await reader.row(select(t.freezes.c.since, t.freezes.c.until).where(t.freezes.c.id == ENGINE))
    return frozen, rows
