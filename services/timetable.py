"""The timetable in the tables: the column `next_execution_time`, brought to what the other rows say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, bindparam, select, true, update

from schemas import tables as t
from schemas.ids import ENGINE
from services.recorder.coming import TIMES, Affected, Row, next_execution

MOST_KEYS = 500  # ids in one IN (…)

_flows, _schedules = t.protection_flows, t.schedules
_SWITCH = ("id", "enabled", "armed_at")
_OF_FLOW = [_flows.c[name] for name in (*_SWITCH, "schedule_id", "last_occurrence", "next_execution_time")]
_OF_SCHEDULE = [_schedules.c[name] for name in (*_SWITCH, *TIMES)]
_OF_FREEZE = [t.freezes.c.id, t.freezes.c.since, t.freezes.c.until]


def update_flows(connection: Connection, affected: Affected) -> None:
    """Bring the column of affected flows up to date."""
    freeze = _rows(connection, _OF_FREEZE, t.freezes.c.id == ENGINE).get(ENGINE)
    for condition in _conditions(affected):
        flows = _rows(connection, _OF_FLOW, condition)
        schedules = dict[str, Row]()
        for some in _together(flow["schedule_id"] for flow in flows.values() if flow["schedule_id"] is not None):
            schedules |= _rows(connection, _OF_SCHEDULE, _schedules.c.id.in_(some))
        times = {id_: next_execution(flow, schedules.get(flow["schedule_id"]), freeze) for id_, flow in flows.items()}
        changed = [{"id_": id_, "at_": at} for id_, at in times.items() if at != flows[id_]["next_execution_time"]]
        if changed:
            statement = update(_flows).where(_flows.c.id == bindparam("id_"))
            connection.execute(statement.values(next_execution_time=bindparam("at_")), changed)


def _conditions(affected: Affected) -> Iterable[ColumnElement[bool]]:
    if affected.every:
        yield true()
        return
    for column, ids in ((_flows.c.id, affected.flows), (_flows.c.schedule_id, affected.schedules)):
        yield from (column.in_(some) for some in _together(ids))


def _together(ids: Iterable[str]) -> Iterable[list[str]]:
    """Yield ids, each once, as many together as one statement takes."""
    keys = sorted(set(ids))
    return (keys[start : start + MOST_KEYS] for start in range(0, len(keys), MOST_KEYS))


def _rows(connection: Connection, columns: list[Column[Any]], condition: ColumnElement[bool]) -> dict[str, Row]:
    """Return rows by id."""
    found = connection.execute(select(*columns).where(condition)).mappings()
    return {row["id"]: {str(name): value for name, value in row.items()} for row in found}
