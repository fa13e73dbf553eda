"""Flows side by side, on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from api.readmodel import timeline
from api.readmodel.reader import Page, Reader
from api.readmodel.timeline import TimelineFilter
from schemas import events as e
from schemas.definitions import Freeze
from schemas.ids import ENGINE
from tests.api.readmodel.rows import Told, execution, reading
from tests.support import T0, flow, group, repository, schedule, vm

HOUR = timedelta(hours=1)
NOW = T0 + 6 * HOUR + timedelta(minutes=10)
ALL = TimelineFilter()


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[Reader]:
    freeze = Freeze(since=NOW, until=T0 + 7.5 * HOUR, reason="moving", created_by="admin")
    made = [
        *(vm(), group(members=["vm-1"]), repository(), repository("repo-2"), schedule(cron_expression="0 * * * *")),
        flow("b", schedule_id="schedule-1", labels={"site": "x"}),
        flow("a", repository_id="repo-2"),
        flow("c", schedule_id="schedule-1", enabled=False),
        e.FreezeDefined(id=ENGINE, version=1, definition=freeze),
    ]
    told: list[Told] = [
        *((T0, one) for one in made),
        *execution("b", T0 + HOUR, {"vm-1": "good"}, lasts=timedelta(minutes=10)),
        *execution("b", T0 + 2 * HOUR, {"vm-1": "bad"}, lasts=2 * HOUR, status="error"),
        *execution("b", T0 + 2.5 * HOUR, {"vm-1": "good"}, execution_type="manual", retry_of="x"),
        *execution("b", T0 + 3 * HOUR, {"vm-1": "good"}, backfill_id="y"),
        *execution("a", T0 + 4 * HOUR, {"vm-1": "runs"}, occurrence=None, execution_type="manual"),
    ]
    async with reading(database_url, told) as found:
        yield found


async def find(reader: Reader, wanted: TimelineFilter = ALL, *, since: Any = T0, **page: int) -> Any:
    return await timeline.find(reader, wanted, since, T0 + 9 * HOUR, Page(**page), NOW)


async def test_bars_tell_what_they_came_from_and_are_in_order(reader: Reader) -> None:
    found = await find(reader)
    assert [one.flow_name for one in found.flows] == ["a", "b", "c"]
    bars = {one.flow_name: one.bars for one in found.flows}
    assert [(bar.kind, bar.status) for bar in bars["b"]] == [
        *(("scheduled", "success"), ("scheduled", "error"), ("retry", "success"), ("backfill", "success")),
    ]
    assert [(bar.kind, bar.status, bar.completed_at) for bar in bars["a"]] == [("manual", "running", None)]
    assert bars["c"] == []
    assert (bars["b"][0].occurrence, bars["b"][0].started_at) == (T0 + HOUR, T0 + HOUR)
    assert (found.from_, found.to, found.now, found.total) == (T0, T0 + 9 * HOUR, NOW, 3)


async def test_what_began_before_the_range_and_ended_in_it_is_shown(reader: Reader) -> None:
    found = await find(reader, since=T0 + 3.5 * HOUR)
    assert [bar.status for one in found.flows for bar in one.bars] == ["running", "error"]


async def test_what_is_to_come_has_its_length_and_why_it_will_not_run(reader: Reader) -> None:
    found = await find(reader)
    coming = {one.flow_name: one.coming for one in found.flows}
    assert [(one.at, one.outcome) for one in coming["b"]] == [
        *((T0 + 7 * HOUR, "frozen"), (T0 + 8 * HOUR, "expected"), (T0 + 9 * HOUR, "expected")),
    ]
    assert "moving" in coming["b"][0].reason
    assert coming["b"][1].expected_seconds == (600 + 300 + 300) / 3  # of those that succeeded
    assert (coming["a"], coming["c"]) == ([], [])
    assert found.freeze.reason == "moving"


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (TimelineFilter(label="site:x"), ["b"]),
        (TimelineFilter(repository_id="repo-2"), ["a"]),
        (TimelineFilter(q="C"), ["c"]),
        (TimelineFilter(q="nothing"), []),
    ],
)
async def test_filters(reader: Reader, wanted: TimelineFilter, names: list[str]) -> None:
    found = await find(reader, wanted)
    assert ([one.flow_name for one in found.flows], found.total) == (names, len(names))


async def test_pages(reader: Reader) -> None:
    found = await find(reader, limit=1, offset=1)
    assert ([one.flow_name for one in found.flows], found.total) == (["b"], 3)


async def test_of_many_the_newest_bars_and_the_first_to_come(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "BARS", 2)
    monkeypatch.setattr(timeline, "AHEAD", 1)
    b = (await find(reader)).flows[1]
    assert ([bar.kind for bar in b.bars], b.more) == (["retry", "backfill"], True)
    assert ([one.at for one in b.coming], b.more_coming) == ([T0 + 7 * HOUR], True)
    a = (await find(reader)).flows[0]
    assert (a.more, a.more_coming) == (False, False)
