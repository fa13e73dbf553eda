"""What the scheduler's searches cost: bounded by what is looked through, whatever there is to find."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.base import Message
from schemas.definitions import Exclusion, ScheduleSpec
from schemas.events import FlowDue, FlowMissed
from services.scheduler import backlog, calendar
from services.scheduler.domain import State, decide, evolve
from services.unusable import Unfoldable
from tests.looks import Looks
from tests.support import T0, flow, group, repository, schedule, sent, stored, vm

EVER = Exclusion(name="for ever", first_date=date(2000, 1, 1))
HALVES = [
    Exclusion(name=f"{half} {number}", first_date=date(2026, 1, 1) + 9 * number * timedelta(days=1), **times)
    for half, times in (
        ("mornings", {"from_time": time(0), "to_time": time(12)}),
        ("afternoons", {"from_time": time(12), "to_time": time(0)}),
    )
    for number in range(50)
]
HOSTILE: dict[str, dict[str, Any]] = {
    "all days are excluded": {"cron_expression": "* * * * *", "exclusions": [EVER]},
    "all weekdays are excluded": {
        "cron_expression": "*/5 * * * *",
        "exclusions": [Exclusion(name="w", weekdays=["sun", "mon", "tue", "wed", "thu", "fri", "sat"])],
    },
    "a hundred exclusions, each beginning on another day": {"cron_expression": "* * * * *", "exclusions": HALVES},
    "twenty-one expressions": {
        "cron_expression": "* * * * *",
        "more_expressions": [f"*/{number} * * * *" for number in range(2, 22)],
        "exclusions": [EVER],
    },
    "a day that hardly ever comes": {"cron_expression": "0 0 * 2 mon#5", "exclusions": [EVER]},
    "it begins in 2190": {"cron_expression": "* * * * *", "start_date": date(2190, 1, 1), "exclusions": [EVER]},
    "it ended long ago": {"cron_expression": "* * * * *", "end_date": date(1980, 1, 1)},
    "no cron expression": {"cron_expression": "x y z"},
    "no time zone": {"cron_expression": "* * * * *", "timezone": "Mars/Olympus"},
    "a folder of time zones": {"cron_expression": "* * * * *", "timezone": "Europe"},
}


def spec(**given_: Any) -> ScheduleSpec:
    return ScheduleSpec(name="s", **given_)


def given_events(*events: Message, horizon: datetime = T0 - timedelta(days=390)) -> State:
    state = State(horizon)
    for event in (vm(), group(), repository(), *events):
        with suppress(Unfoldable):  # then it is a dead letter, and what can be taken in of it is
            evolve(state, stored(sent(event), 1))
    return state


def decided(state: State, now: datetime) -> list[FlowDue | FlowMissed]:
    events = [event for events in decide(state, now) for event in events]
    for event in events:
        evolve(state, stored(sent(event), 1))
    assert all(isinstance(event, FlowDue | FlowMissed) for event in events)
    return events  # type: ignore[return-value]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_search_for_what_never_comes_ends(looks: Looks, name: str, zone: str) -> None:
    hostile = {"timezone": zone, **HOSTILE[name]}
    assert list(calendar.occurrences(spec(**hostile), T0)) == []
    assert calendar.next_occurrence(spec(**hostile), T0) is None
    assert looks.days <= 2 * calendar.LOOKS
    assert looks.instants == 0, "what is excluded is not looked at one by one"
    looks.reset()
    assert len(list(islice(calendar.annotated(spec(**hostile), T0), 500))) in (0, 500) or "hardly" in name
    assert looks.days <= calendar.LOOKS


@pytest.mark.parametrize("expression", ["0 0 29 2 *", "0 0 * 2 mon#5", "0 0 31 12 *", "0 0 1 1 *"])
def test_a_search_looks_at_the_months_between_rare_days_and_not_at_their_days(looks: Looks, expression: str) -> None:
    first = calendar.next_occurrence(spec(cron_expression=expression), T0)
    assert first is not None
    months = 12 * (first.year - T0.year) + 12
    assert looks.days <= months + 1


@pytest.mark.parametrize("name", HOSTILE)
def test_a_schedule_that_never_fires_delays_no_other(looks: Looks, name: str) -> None:
    """It is on the log from before it was refused, or by somebody else's hand."""
    never = [schedule(f"never-{number}", **HOSTILE[name]) for number in range(20)]
    on_them = [flow(f"n-{number}", schedule_id=f"never-{number}") for number in range(20)]
    state = given_events(schedule(), *never, flow(schedule_id="schedule-1"), *on_them)
    at = T0 + timedelta(hours=1)
    assert [(event.flow_id, event.occurrence) for event in decided(state, at) if isinstance(event, FlowDue)] == [
        ("flow-1", at)
    ]
    assert looks.days <= 20 * calendar.LOOKS + 10
    looks.reset()
    for hour in range(2, 100):
        assert len(decided(state, T0 + timedelta(hours=hour))) == 1
    assert looks.days <= 98 * 10, "what was looked through is not looked through again"


def test_a_search_goes_on_where_it_ended_when_the_time_has_come() -> None:
    pause = Exclusion(name="pause", first_date=date(2026, 1, 1), last_date=date(2049, 12, 31))
    state = given_events(schedule(exclusions=[pause], catch_up="all"), flow(schedule_id="schedule-1"))
    wakes: list[datetime] = []
    while (at := state.wake_at) is not None and at < datetime(2050, 1, 1, tzinfo=UTC):
        wakes.append(at)
        assert decided(state, at) == []
        assert len(wakes) < 10
    assert wakes == sorted(set(wakes))
    assert wakes[0] - T0 > timedelta(days=5 * 365)
    assert state.wake_at == datetime(2050, 1, 1, tzinfo=UTC)
    (event,) = decided(state, state.wake_at)
    assert isinstance(event, FlowDue)
    assert event.occurrence == datetime(2050, 1, 1, tzinfo=UTC)


def test_a_year_of_minutes_is_counted_by_days(looks: Looks) -> None:
    """390 days without a scheduler: half a million occurrences of each flow, one event."""
    minutes = {"cron_expression": "* * * * *", "timezone": "Europe/Berlin", "jitter_seconds": 3600}
    born = T0 - timedelta(days=390)
    schedules = [schedule(f"s-{number}", armed_at=born, **minutes) for number in range(10)]
    flows = [flow(f"f-{number}", schedule_id=f"s-{number % 10}", armed_at=born) for number in range(30)]
    state = given_events(*schedules, *flows)
    missed = [event for event in decided(state, T0) if isinstance(event, FlowMissed)]
    assert len(missed) == 30
    assert all(390 * 1440 - 62 <= event.count <= 390 * 1440 for event in missed)
    assert looks.days <= 30 * 400
    near_changes = 3 * 3  # days near the three changes of the clocks in this time
    assert looks.instants <= 30 * (backlog.LAST + (2 + near_changes) * 24 * 60), "and a day's at either end"


EXPRESSIONS = ["* * * * *", "*/7 * * * *", "30 2 * * *", "0 */3 * * sat", "15,45 1-3 * * *"]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    expressions=st.lists(st.sampled_from(EXPRESSIONS), min_size=1, max_size=3),
    edits=st.lists(st.integers(0, 20 * 1440), max_size=4),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Santiago"]),
    start=st.sampled_from([datetime(2026, 3, 20, tzinfo=UTC), datetime(2026, 10, 15, tzinfo=UTC), T0]),
    catch_up=st.sampled_from(["none", "last", "all"]),
    jitter=st.sampled_from([0, 600]),
)
def test_what_is_counted_is_what_there_is(
    monkeypatch: pytest.MonkeyPatch,
    expressions: list[str],
    edits: list[int],
    zone: str,
    start: datetime,
    catch_up: str,
    jitter: int,
) -> None:
    """The same outcomes, whether the backlog is counted or each occurrence of it is looked at."""
    exclusions = [Exclusion(name="night", from_time=time(22), to_time=time(5), weekdays=["fri", "sat"])]
    fields = {"timezone": zone, "catch_up": catch_up, "jitter_seconds": jitter, "exclusions": exclusions}

    def outcomes(last: int) -> list[FlowDue | FlowMissed]:
        monkeypatch.setattr(backlog, "LAST", last)
        first = schedule(cron_expression=expressions[0], armed_at=start, **fields)
        state = given_events(first, flow(schedule_id="schedule-1", armed_at=start), horizon=start)
        for number, minute in enumerate(sorted(edits), start=2):
            at = start + timedelta(minutes=minute)
            expression = expressions[number % len(expressions)]
            event = schedule(version=number, cron_expression=expression, armed_at=at, **fields)
            evolve(state, stored(sent(event, time=at), number))
        return decided(state, start + timedelta(days=20))

    assert outcomes(200) == outcomes(1_000_000)


def test_what_has_an_outcome_already_is_not_counted_again() -> None:
    born = T0 - timedelta(days=30)
    minutes = schedule(cron_expression="* * * * *", armed_at=born, catch_up="none")
    state = given_events(minutes, flow(schedule_id="schedule-1", armed_at=born))
    skipped = {born + timedelta(minutes=1), born + timedelta(days=3), T0}
    state.skipped["flow-1"] = {*skipped, T0 + timedelta(days=9)}
    missed, due = decided(state, T0 + timedelta(hours=5, seconds=30))
    assert isinstance(missed, FlowMissed)
    assert isinstance(due, FlowDue)
    assert (missed.first, missed.last) == (born + timedelta(minutes=2), T0 + timedelta(minutes=299))
    assert missed.count == 30 * 1440 + 299 - len(skipped)
    assert due.occurrence == T0 + timedelta(hours=5)


def test_calendars_that_overlap_are_looked_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that moved to another schedule by a command that was late: both calendars count, each occurrence once."""
    monkeypatch.setattr(backlog, "ENUMERATED", 2_000)
    born = T0 - timedelta(days=10)
    fields = {"armed_at": born, "catch_up": "none"}
    twos = schedule(cron_expression="*/2 * * * *", **fields)
    threes = schedule("schedule-2", cron_expression="*/3 * * * *", **fields)
    state = given_events(twos, threes, flow(schedule_id="schedule-1", armed_at=born))
    evolve(state, stored(sent(flow(version=2, schedule_id="schedule-2", armed_at=born), time=T0), 2))
    counts: list[int] = []
    while events := decided(state, T0 + timedelta(seconds=30)):
        counts += [event.count if isinstance(event, FlowMissed) else 1 for event in events]
        assert len(counts) < 20
    assert sum(counts) == sum(1 for minute in range(1, 10 * 1440 + 1) if minute % 2 == 0 or minute % 3 == 0)
    assert max(counts) <= 2_000
    assert len(counts) > 3
