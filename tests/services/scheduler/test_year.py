"""A year on a virtual clock: every occurrence of a thousand flows in five zones has exactly one outcome."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random

import pytest

from schemas.events import FlowDue, FlowMissed
from schemas.ids import instant
from services.scheduler import calendar
from services.scheduler.domain import State, decide, evolve
from tests.support import flow, group, repository, schedule, sent, stored, vm

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=365)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago")
EXPRESSIONS = ("30 2 * * *", "0 2 * * *", "45 1 * * *", "15 0 * * mon-fri", "0 */8 * * sat", "30 1 1,15 * *", "@weekly")
GOLDEN = "32b4e138b6bd2524c380a1c734af2ad62c500d7a0081718f7cf603ce3095ddcc"  # of the calendar of 2026


def state() -> State:
    house = State()
    schedules = [
        schedule(f"{zone}/{expression}", cron_expression=expression, timezone=zone, armed_at=START, catch_up="none")
        for zone in ZONES
        for expression in EXPRESSIONS
    ]
    flows = [
        flow(f"f{number}", schedule_id=schedules[number % len(schedules)].id, armed_at=START) for number in range(1000)
    ]
    for event in (vm(), group(), repository(), *schedules, *flows):
        evolve(house, stored(sent(event), 1))
    return house


@pytest.mark.slow
def test_every_occurrence_of_a_year_has_exactly_one_outcome() -> None:
    house = state()
    chance = Random(1)
    fired: Counter[tuple[str, datetime]] = Counter()
    missed: Counter[str] = Counter()
    while (now := house.wake_at) is not None and now <= END:
        if chance.random() < 0.005:
            now += timedelta(hours=chance.randrange(1, 12))  # nobody was there
        for events in decide(house, min(now, END)):
            for event in events:
                if isinstance(event, FlowDue):
                    fired[event.flow_id, event.occurrence] += 1
                else:
                    assert isinstance(event, FlowMissed)
                    missed[event.flow_id] += event.count
                evolve(house, stored(sent(event), 1))
    assert set(fired.values()) == {1}
    # the enumeration, by the calendar alone
    digest = sha256()
    of_schedule = {id_: list(calendar.occurrences(one, START, END)) for id_, one in house.catalogue.schedules.items()}
    for flow_id, definition in sorted(house.catalogue.flows.items()):
        assert definition.schedule_id is not None
        expected = of_schedule[definition.schedule_id]
        mine = [at for at in expected if (flow_id, at) in fired]
        assert len(mine) + missed[flow_id] == len(expected)
        digest.update("".join(f"{flow_id} {instant(at)}\n" for at in expected).encode())
    assert sum(missed.values()) > 0
    assert sum(fired.values()) + sum(missed.values()) > 200_000
    assert digest.hexdigest() == GOLDEN
