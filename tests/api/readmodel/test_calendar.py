"""The calendar over all flows, on each database: what became of occurrences, and what will, with the reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from api.readmodel import calendar, flows, occurrences
from api.readmodel.reader import Reader
from bus.log import Identity
from schemas import events as e
from schemas.base import Message
from schemas.definitions import Exclusion, Freeze
from schemas.ids import ENGINE
from services import database
from services.recorder.store import Tables, publish_nothing
from tests.api.events import started
from tests.support import T0, due, flow, group, repository, schedule, sent, stored, vm

STREAM = Identity(created="then", last_sequence=1_000_000)
HOUR = timedelta(hours=1)
NOW = T0 + 3 * HOUR + timedelta(minutes=30)  # 15:30
FREEZE = Freeze(since=T0, until=T0 + 5 * HOUR + timedelta(minutes=1), reason="audit", created_by="eve")
CLOSED = Exclusion(name="closing", first_date=date(2026, 11, 2), last_date=date(2026, 11, 2))


def at(hour: int) -> datetime:
    return T0 + hour * HOUR


def history() -> list[Message]:
    """Return a log: executed at 12:00, skipped at 13:00, missed at 14:00 and 15:00; the freeze ends after 17:00."""
    hours = schedule(armed_at=T0 - HOUR, exclusions=[CLOSED])
    skipped = e.FlowSkipped(
        flow_id="flow-1",
        execution_id="s",
        execution_type="scheduled",
        occurrence=at(1),
        reason="overlap",
        message="busy",
    )
    return [
        *(vm(), group(members=["vm-1"]), repository(), hours),
        flow(schedule_id="schedule-1", armed_at=T0 - HOUR),
        flow("flow-2", schedule_id="schedule-1", enabled=False),
        flow("flow-3"),
        due(at=T0),
        started("x", 1, T0),
        due(at=at(1)),
        skipped,
        e.FlowMissed(flow_id="flow-1", schedule_id="schedule-1", first=at(2), last=at(3), count=2),
        e.FreezeDefined(id=ENGINE, version=1, definition=FREEZE),
    ]


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[Reader]:
    tables = Tables(database_url)
    entries = [
        stored(sent(one, id=f"m{number}", time=T0 + number * timedelta(seconds=600)), number)
        for number, one in enumerate(history(), start=1)
    ]
    await database.prepare(database_url)
    await tables.apply(entries, STREAM, publish_nothing)
    reader = Reader(database.reader(database_url))
    yield reader
    await reader._engine.dispose()
    await tables.close()


def told(one: Any) -> tuple[datetime, str, str | None]:
    return one.occurrence, one.outcome, one.reason


FROZEN = "no scheduled start until 2026-11-01T17:01:00Z: audit"
AHEAD = [
    (at(4), "frozen", FROZEN),
    (at(5), "frozen", FROZEN),
    *((at(hour), "expected", None) for hour in range(6, 12)),
    *((at(hour), "excluded", "excluded: closing") for hour in range(12, 14)),
]


async def test_past_outcomes_are_in_the_calendar(reader: Reader) -> None:
    found = await calendar.over_all(reader, T0 - HOUR, at(4), NOW)
    assert [told(one) for one in found.entries] == [
        (T0, "executed", None),
        (at(1), "skipped", "overlap: busy"),
        (at(2), "missed", None),
        AHEAD[0],
    ]
    executed, _, missed, _ = found.entries
    assert (executed.execution_id, executed.status, executed.flow_name) == ("x", "running", "flow-1")
    assert (missed.last, missed.count) == (at(3), 2)
    assert found.complete
    only_past = await calendar.over_all(reader, at(1), at(2), NOW)
    assert [one.outcome for one in only_past.entries] == ["skipped"]


async def test_what_is_frozen_or_excluded_is_shown_as_such(reader: Reader) -> None:
    """In the calendar, among a flow's occurrences, and next to its next runs: it had been left out."""
    found = await calendar.over_all(reader, NOW, at(13), NOW)
    assert [told(one) for one in found.entries] == AHEAD
    assert {one.flow_id for one in found.entries} == {"flow-1"}, "nothing runs the others"
    assert [one.fires_at for one in found.entries[:3]] == [None, None, at(6)]
    assert found.freeze is not None
    of_flow = await occurrences.outcomes(reader, "flow-1", NOW, at(13), NOW)
    assert of_flow is not None
    assert [told(one) for one in of_flow.occurrences] == AHEAD
    assert of_flow.complete
    status = await flows.at_present(reader, "flow-1", NOW, 10)
    assert status is not None
    assert [told(one) for one in status.next_occurrences] == AHEAD
    assert status.next_runs[:7] == [*(at(hour) for hour in range(6, 12)), at(36)]
    assert status.next_run == at(6)


async def test_the_first_of_many(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar, "MOST", 4)
    found = await calendar.over_all(reader, T0 - HOUR, at(9), NOW)
    assert [told(one)[:2] for one in found.entries] == [
        *((T0, "executed"), (at(1), "skipped"), (at(2), "missed"), (at(4), "frozen")),
    ]
    assert not found.complete
    monkeypatch.setattr(calendar, "MOST", 1)
    found = await calendar.over_all(reader, T0 - HOUR, at(9), NOW)
    assert ([one.outcome for one in found.entries], found.complete) == (["executed"], False)
