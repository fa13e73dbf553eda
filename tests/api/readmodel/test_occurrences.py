"""The occurrences of a flow, on each database: the first or the last of very many, picked by the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from api.readmodel import occurrences
from api.readmodel.reader import Reader, TooMuch
from bus.log import Identity
from schemas import events as e
from schemas.base import Message
from services import database
from services.recorder.store import Tables, publish_nothing
from tests.api.events import started
from tests.support import T0, due, flow, group, repository, schedule, sent, stored, vm

STREAM = Identity(created="then", last_sequence=1_000_000)
MINUTE = timedelta(minutes=1)
NUMBER = 200  # occurrences: each is due, every second one is skipped, every third one executed
END = T0 + NUMBER * MINUTE


def at(minute: int) -> datetime:
    return T0 + minute * MINUTE


def skipped(minute: int, message: str = "busy") -> e.FlowSkipped:
    about = {"flow_id": "flow-1", "execution_type": "scheduled", "reason": "overlap"}
    return e.FlowSkipped(execution_id=f"s-{minute}-{message}", occurrence=at(minute), message=message, **about)


def history() -> list[Message]:
    minutes = schedule(cron_expression="* * * * *", armed_at=T0 - MINUTE)
    said: list[Message] = [vm(), group(members=["vm-1"]), repository(), minutes, flow(schedule_id="schedule-1")]
    for minute in range(NUMBER):
        said.append(due(at=at(minute)))
        if minute % 2:
            said.append(skipped(minute))
        if minute % 3 == 0:
            said.append(started(f"x-{minute}", 1, at(minute)))
    missed = {"flow_id": "flow-1", "schedule_id": "schedule-1", "count": 5}
    return [*said, e.FlowMissed(first=at(NUMBER), last=at(NUMBER + 4), **missed)]


def expected(minute: int) -> str:
    return "executed" if minute % 3 == 0 else "skipped" if minute % 2 else "due"


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[Reader]:
    tables = Tables(database_url)
    entries = [
        stored(sent(one, id=f"m{number}", time=END + timedelta(seconds=number)), number)
        for number, one in enumerate(history(), start=1)
    ]
    await database.prepare(database_url)
    await tables.apply(entries, STREAM, publish_nothing)
    reader = Reader(database.reader(database_url))
    yield reader
    await reader._engine.dispose()
    await tables.close()


async def test_all_of_few(reader: Reader) -> None:
    found = await occurrences.outcomes(reader, "flow-1", T0, at(NUMBER + 9), at(NUMBER + 5))
    assert found is not None
    past, missed, coming = found.occurrences[:NUMBER], found.occurrences[NUMBER], found.occurrences[NUMBER + 1 :]
    assert [(one.occurrence, one.outcome) for one in past] == [(at(n), expected(n)) for n in range(NUMBER)]
    assert (missed.outcome, missed.occurrence, missed.last, missed.count) == ("missed", at(NUMBER), at(NUMBER + 4), 5)
    assert [(one.occurrence, one.outcome) for one in coming] == [(at(NUMBER + n), "expected") for n in (6, 7, 8, 9)]
    assert found.complete


async def test_the_first_of_many_and_the_rest_from_there_on(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(occurrences, "MOST", 30)
    seen: dict[datetime, str] = {}
    begin, requests = T0, 0
    while True:
        found = await occurrences.outcomes(reader, "flow-1", begin, at(NUMBER), END + timedelta(days=1))
        assert found is not None
        assert len(found.occurrences) <= 30
        seen |= {one.occurrence: one.outcome for one in found.occurrences}
        requests += 1
        assert requests < 30
        if found.complete:
            break
        assert found.occurrences[-1].occurrence > begin
        begin = found.occurrences[-1].occurrence
    assert seen == {at(minute): expected(minute) for minute in range(NUMBER)}


async def test_one_occurrence_with_more_messages_than_are_read(
    reader: Reader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backfill was tried again and again."""
    monkeypatch.setattr(occurrences, "MOST", 5)
    tables = Tables(database_url)
    first = len(history()) + 1
    more = [stored(sent(skipped(0, f"{n}"), id=f"a{n}", time=END), n) for n in range(first, first + 40)]
    await tables.apply(more, STREAM, publish_nothing)
    await tables.close()
    found = await occurrences.outcomes(reader, "flow-1", T0, at(10), END)
    assert found is not None
    assert [(one.occurrence, one.outcome) for one in found.occurrences] == [(T0, "executed")]
    assert not found.complete


async def test_what_waits_or_waited_in_vain_has_not_been_executed(reader: Reader, database_url: str) -> None:
    later = [at(NUMBER + 20), at(NUMBER + 21)]
    buffered = [
        e.FlowBuffered(
            flow_id="flow-1",
            execution_id=f"w-{number}",
            flow_name="flow-1",
            execution_type="scheduled",
            triggered_by="scheduler",
            occurrence=occurrence,
            overlap_policy="buffer_all",
            priority=0,
            waiting_for=["x-0"],
        )
        for number, occurrence in enumerate(later)
    ]
    in_vain = e.FlowSkipped(
        flow_id="flow-1",
        execution_id="w-0",
        execution_type="scheduled",
        occurrence=later[0],
        reason="cancelled",
        message="no",
    )
    said: list[Message] = [*(due(at=one) for one in later), *buffered, in_vain]
    first = len(history()) + 1
    more = [stored(sent(one, id=f"w{n}", time=later[1]), n) for n, one in enumerate(said, start=first)]
    tables = Tables(database_url)
    await tables.apply(more, STREAM, publish_nothing)
    await tables.close()
    found = await occurrences.outcomes(reader, "flow-1", later[0], later[1], later[1] + MINUTE)
    assert found is not None
    assert [(one.occurrence, one.outcome) for one in found.occurrences[:1]] == [(later[0], "skipped")]
    found = await occurrences.outcomes(reader, "flow-1", later[1], later[1] + MINUTE, later[1] + MINUTE)
    assert found is not None
    assert [(one.occurrence, one.outcome) for one in found.occurrences[:1]] == [(later[1], "due")]


async def test_what_a_backfill_fills(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = await occurrences.to_fill(reader, "flow-1", T0, at(30), "missing")
    assert missing == [at(minute) for minute in range(30) if minute % 3]
    assert await occurrences.to_fill(reader, "flow-1", T0, at(30), "failed") == []
    every = await occurrences.to_fill(reader, "flow-1", T0, at(30), "all")
    assert every == [at(minute) for minute in range(30)]
    monkeypatch.setattr(occurrences, "SEARCHED", 29)
    with pytest.raises(TooMuch, match="30 occurrences"):
        await occurrences.to_fill(reader, "flow-1", T0, at(30), "all")
