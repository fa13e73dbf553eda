"""When flows run next by their schedules: the column `next_execution_time`, for those who read the tables by SQL.

It is the first occurrence after the newest one that has an outcome on the log, and so a function of rows that the log
gives: no clock has a part in it. An engine that runs gives each occurrence its outcome at once, so the time lies ahead;
one that stood still finds there what it has not caught up with yet. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from schemas import tables as t
from schemas.base import Value
from schemas.definitions import Exclusion, ScheduleSpec
from services.recorder.changes import Changes
from services.scheduler import calendar

TIMES = ("cron_expression", "more_expressions", "timezone", "dst_gap", "dst_fold", "start_date", "end_date")
TIMES += ("jitter_seconds", "exclusions", "inclusions")
_INSTANT = timedelta(microseconds=1)

Row = Mapping[str, Any]


class Affected(Value, frozen=True, kw_only=True):
    """The flows that may run at another time now: these, those on some schedules, or every one."""

    flows: frozenset[str] = frozenset()
    schedules: frozenset[str] = frozenset()
    every: bool = False

    @staticmethod
    def by(changes: Changes) -> Affected | None:
        """Return which flows some changes affect, None when they affect none."""
        defined = [(table, id_) for table, id_, row, _ in changes.definitions if row is not None or table is t.freezes]
        flows = {id_ for table, id_ in defined if table is t.protection_flows} | {
            id_ for id_, values in changes.flow_changes.items() if "last_occurrence" in values
        }
        schedules = {id_ for table, id_ in defined if table is t.schedules}
        every = any(table is t.freezes for table, _ in defined)
        if not (flows or schedules or every):
            return None
        return Affected(flows=frozenset(flows), schedules=frozenset(schedules), every=every)

    def includes(self, flow: Row) -> bool:
        """Tell whether a flow's row is affected."""
        return self.every or flow["id"] in self.flows or flow["schedule_id"] in self.schedules


EVERY = Affected(every=True)


def next_execution(flow: Row, schedule: Row | None, freeze: Row | None) -> datetime | None:
    """Return when a flow begins next by its schedule, None when nothing begins it.

    `schedule`: the row of the one that it is on; `freeze`: the row of the freeze, whether over or not.
    """
    if schedule is None or not flow["enabled"] or not schedule["enabled"]:
        return None
    spec = spec_of(schedule)
    jitter = calendar.jitter(spec, flow["id"])
    last = flow["last_occurrence"]
    after = max(flow["armed_at"], schedule["armed_at"], *([last] if last is not None else []))
    at = calendar.next_occurrence(spec, after)
    while at is not None and freeze is not None and (end := _frozen_until(at, jitter, freeze)) is not None:
        at = calendar.next_occurrence(spec, end - _INSTANT)
    return None if at is None else at + jitter


def _frozen_until(at: datetime, jitter: timedelta, freeze: Row) -> datetime | None:
    """Return up to when occurrences do not begin, when one at `at` falls into the freeze; else None."""
    if freeze["since"] <= at < freeze["until"]:
        return freeze["until"]
    return freeze["until"] - jitter if freeze["since"] <= at + jitter < freeze["until"] else None


def spec_of(schedule: Row) -> ScheduleSpec:
    """Return what in a schedule's row says when it fires."""
    times = {name: schedule[name] for name in TIMES}
    times["exclusions"] = msgspec.convert(times["exclusions"], list[Exclusion])
    times["inclusions"] = msgspec.convert(times["inclusions"], list[datetime])
    return ScheduleSpec(name="", **times)
