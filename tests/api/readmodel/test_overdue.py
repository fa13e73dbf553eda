"""Overdue flows, by their own expected interval: on each database, and at the edges of a schedule."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from api.readmodel.overdue import Overdue, promise
from api.readmodel.reader import Reader
from bus.log import Identity
from schemas import events as e
from schemas.base import Message
from schemas.definitions import Freeze
from schemas.ids import ENGINE
from services import database
from services.recorder.store import Tables, publish_nothing
from tests.api.events import completed, started
from tests.support import T0, flow, group, repository, schedule, sent, stored, vm

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FRIDAY = datetime(2026, 11, 20, 2, tzinfo=UTC)


def promised(cron: str, after: datetime, **given: Any) -> Any:
    definition = schedule(cron_expression=cron, **given).definition
    return promise(structs.asdict(definition), after)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("cron", "after", "overdue", "interval"),
    [
        ("0 2 * * *", FRIDAY, FRIDAY + DAY + 6 * HOUR, DAY),
        ("0 2 * * 1-5", FRIDAY, FRIDAY + 3 * DAY + 6 * HOUR, DAY),  # nothing is expected at the weekend
        ("* * * * *", FRIDAY, FRIDAY + timedelta(minutes=6), timedelta(minutes=1)),
        ("0 * * * *", FRIDAY, FRIDAY + HOUR + HOUR / 2, HOUR),
    ],
)
def test_the_interval_is_the_schedules_own(cron: str, after: datetime, overdue: datetime, interval: timedelta) -> None:
    found = promised(cron, after)
    assert (found.overdue_at, found.interval) == (overdue, interval)


def test_a_schedule_that_fires_no_more_promises_nothing() -> None:
    assert promised("0 2 * * *", FRIDAY, end_date=FRIDAY.date()).overdue_at is None
    last = promised("0 2 * * *", FRIDAY, end_date=(FRIDAY + DAY).date())
    assert (last.overdue_at, last.interval) == (FRIDAY + DAY + 6 * HOUR, None)


def test_jitter_is_waited_for() -> None:
    assert promised("0 * * * *", FRIDAY, jitter_seconds=600).overdue_at == FRIDAY + 1.5 * HOUR + timedelta(minutes=10)


def of_flow(id_: str, **given: Any) -> e.FlowDefined:
    return flow(id_, name=id_, schedule_id="schedule-1", **given)


def run(flow_id: str, at: datetime, status: str = "success") -> list[Message]:
    id_ = f"{flow_id}-{at:%d%H}"
    begun = structs.replace(started(id_, 0, at), flow_id=flow_id)
    return [begun, structs.replace(completed(id_, at, status=status), flow_id=flow_id)]


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[Any]:
    """Gives a reader of the tables that some messages have made, an hour apart from each other as they say."""
    tables = Tables(database_url)
    await database.prepare(database_url)
    reader = Reader(database.reader(database_url))

    async def of(*messages: Message) -> Reader:
        base: list[Message] = [vm(), group(members=["vm-1"]), repository(), schedule(cron_expression="0 * * * *")]
        entries = [
            stored(
                sent(one, id=f"m{number}", time=getattr(one, "completed_at", getattr(one, "occurrence", T0))), number
            )
            for number, one in enumerate([*base, *messages], start=1)
        ]
        await tables.apply(entries, Identity(created="then", last_sequence=10_000), publish_nothing)
        return reader

    yield of
    await reader._engine.dispose()
    await tables.close()


async def test_what_did_not_succeed_in_time_is_overdue_and_comes_first(reader: Any) -> None:
    messages = [
        of_flow("a-good"),
        of_flow("b-failed"),
        of_flow("c-never"),
        of_flow("d-disabled", enabled=False),
        *run("a-good", T0 + HOUR),
        *run("a-good", T0 + 2 * HOUR),
        *run("b-failed", T0 + HOUR),
        *run("b-failed", T0 + 2 * HOUR, "error"),
    ]
    tables = await reader(*messages)
    overdue = Overdue()
    soon = await overdue.find(tables, T0 + 2 * HOUR + timedelta(minutes=20))
    assert [(one.name, one.overdue) for one in soon] == [("c-never", True), ("a-good", False), ("b-failed", False)]
    found = await overdue.find(tables, T0 + 2 * HOUR + timedelta(minutes=40))
    assert [(one.name, one.overdue) for one in found] == [("b-failed", True), ("c-never", True), ("a-good", False)]
    assert [one.last_success for one in found] == [T0 + HOUR, None, T0 + 2 * HOUR]
    assert {one.interval for one in found} == {HOUR}


async def test_a_freeze_promises_nothing_until_it_is_over(reader: Any) -> None:
    freeze = Freeze(since=T0, until=T0 + 5 * HOUR, reason="moving", created_by="admin")
    tables = await reader(of_flow("a"), e.FreezeDefined(id=ENGINE, version=1, definition=freeze))
    overdue = Overdue()
    assert [one.overdue for one in await overdue.find(tables, T0 + 4 * HOUR)] == [False]
    assert [one.overdue for one in await overdue.find(tables, T0 + 6 * HOUR)] == [False]
    assert [one.overdue for one in await overdue.find(tables, T0 + 7 * HOUR)] == [True]
