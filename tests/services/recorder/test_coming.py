"""When flows run next, as the tables say it: a function of rows, without a clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs, to_builtins
from sqlalchemy import select

from schemas import tables as t
from schemas.base import Message
from schemas.definitions import Freeze, Schedule
from schemas.events import FlowDefined, FlowMissed, FreezeDefined
from schemas.ids import ENGINE
from services import database
from services.recorder.coming import next_execution
from services.recorder.store import Tables
from services.scheduler import calendar
from tests.services.execution import HOUSE, STREAM
from tests.support import T0, due, flow, history, schedule

HOUR = timedelta(hours=1)
FLOW = {"id": "flow-1", "enabled": True, "armed_at": T0, "last_occurrence": None}


def row(**given: Any) -> dict[str, Any]:
    """Return the row of a schedule that fires every hour."""
    definition = schedule(**given).definition
    assert isinstance(definition, Schedule)
    return {
        **structs.asdict(definition),
        "exclusions": to_builtins(definition.exclusions),
        "inclusions": to_builtins(definition.inclusions),
    }


@pytest.mark.parametrize(
    ("flow", "schedule", "freeze", "expected"),
    [
        (FLOW, row(), None, T0 + HOUR),
        (FLOW | {"last_occurrence": T0 + 5 * HOUR}, row(), None, T0 + 6 * HOUR),
        (FLOW | {"last_occurrence": T0 - 5 * HOUR}, row(), None, T0 + HOUR),
        (FLOW, row(armed_at=T0 + 2 * HOUR), None, T0 + 3 * HOUR),
        (FLOW | {"enabled": False}, row(), None, None),
        (FLOW, row(enabled=False), None, None),
        (FLOW, None, None, None),
        (FLOW, row(end_date=T0.date() - timedelta(days=1)), None, None),
        (FLOW, row(timezone="Mars/Olympus"), None, None),
        (FLOW, row(), {"since": T0, "until": T0 + 2 * HOUR}, T0 + 2 * HOUR),
        (FLOW, row(), {"since": T0 + 2 * HOUR, "until": T0 + 4 * HOUR}, T0 + HOUR),
    ],
)
def test_the_next_execution(flow: Any, schedule: Any, freeze: Any, expected: Any) -> None:
    assert next_execution(flow, schedule, freeze) == expected


def test_a_flow_begins_late_by_its_jitter_and_not_in_a_freeze() -> None:
    late = row(jitter_seconds=3599)
    jitter = calendar.jitter(schedule(jitter_seconds=3599).definition, "flow-1")  # type: ignore[arg-type]
    assert next_execution(FLOW, late, None) == T0 + HOUR + jitter
    freeze = {"since": T0 + HOUR + timedelta(seconds=1), "until": T0 + HOUR + jitter + timedelta(seconds=1)}
    assert next_execution(FLOW, late, freeze) == T0 + 2 * HOUR + jitter


async def test_the_column_follows_the_log(database_url: str) -> None:
    """With each message that has a part in it: of the flow, of its schedule, of an occurrence, of the freeze."""
    database.upgrade(database_url)
    store = Tables(database_url)
    freeze = FreezeDefined(
        id=ENGINE,
        version=1,
        definition=Freeze(since=T0, until=T0 + 9 * HOUR + timedelta(minutes=1), reason="audit", created_by="eve"),
    )
    on_schedule = {"schedule_id": "schedule-1"}
    steps: list[tuple[Message, Any]] = [
        (schedule(), None),
        (flow(version=2, **on_schedule), T0 + HOUR),
        (due(at=T0 + HOUR), T0 + 2 * HOUR),
        (due(at=T0), T0 + 2 * HOUR),
        (FlowMissed(flow_id="flow-1", schedule_id="schedule-1", first=T0, last=T0 + 4 * HOUR, count=4), T0 + 5 * HOUR),
        (schedule(version=2, cron_expression="30 * * * *"), T0 + 4 * HOUR + timedelta(minutes=30)),
        (freeze, T0 + 9 * HOUR + timedelta(minutes=30)),
        (structs.replace(freeze, version=2, definition=None), T0 + 4 * HOUR + timedelta(minutes=30)),
        (flow(version=3, enabled=False, **on_schedule), None),
        (FlowDefined(id="flow-1", version=4, definition=None), "gone"),
        (flow(version=1, created_at=T0 + HOUR, **on_schedule), T0 + timedelta(minutes=30)),
    ]
    entries = history(*HOUSE, *(message for message, _ in steps))
    engine = database.reader(database_url)
    try:
        await store.apply(entries[: len(HOUSE)], STREAM)
        for entry, (_, expected) in zip(entries[len(HOUSE) :], steps, strict=True):
            await store.apply([entry], STREAM)
            async with engine.connect() as connection:
                found = (await connection.execute(select(t.protection_flows.c.next_execution_time))).scalars().all()
            assert found == ([] if expected == "gone" else [expected]), entry.envelope.data
    finally:
        await engine.dispose()
        await store.close()
