"""The scheduler's decisions: every occurrence that has passed is due, or missed with the reason in its schedule."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given as given_
from hypothesis import strategies as st

from schemas.base import Message
from schemas.events import FlowDefined, FlowDue, FlowMissed
from services.scheduler import calendar
from services.scheduler.domain import State, decide, evolve
from tests.support import T0, due, flow, group, repository, schedule, sent, stored, vm

HOURLY = {"schedule_id": "schedule-1"}


def given(*events: Message) -> State:
    state = State()
    for event in (vm(), group(), repository(), *events):
        evolve(state, stored(sent(event), 1))
    return state


def at(hours: float = 0, seconds: float = 0) -> datetime:
    return T0 + timedelta(hours=hours, seconds=seconds)


def said(state: State, now: datetime) -> list[FlowDue | FlowMissed]:
    return [event for events in decide(state, now) for event in events]


def test_nothing_is_due_before_its_time() -> None:
    state = given(schedule(), flow(**HOURLY))
    assert state.wake_at == at(1)
    assert decide(state, at(1, -0.001)) == []


def test_an_occurrence_is_due_once() -> None:
    state = given(schedule(), flow(**HOURLY))
    (first,) = said(state, at(1))
    assert first == due(at=at(1))
    assert said(state, at(1, 1)) == [first]  # said again until the log has it
    evolve(state, stored(sent(first), 1))
    assert said(state, at(1, 1)) == []
    assert state.wake_at == at(2)


def test_an_occurrence_on_the_log_twice_changes_nothing() -> None:
    state = given(schedule(), flow(**HOURLY), due(at=at(2)), due(at=at(1)), due(at=at(2)))
    assert state.wake_at == at(3)


@pytest.mark.parametrize(
    "events",
    [
        [schedule(), flow()],
        [schedule(), flow(**HOURLY, enabled=False)],
        [schedule(enabled=False), flow(**HOURLY)],
        [schedule(), flow(**HOURLY), FlowDefined(id="flow-1", version=2, definition=None)],
        [schedule(), flow(**HOURLY), flow(version=2)],
        [schedule(), flow(**HOURLY), schedule(version=2, enabled=False)],
    ],
)
def test_what_is_off_does_not_fire(events: list[Message]) -> None:
    state = given(*events)
    assert state.wake_at is None
    assert decide(state, at(100)) == []


def test_enabling_never_runs_the_past() -> None:
    state = given(schedule(), flow(**HOURLY, enabled=False), flow(**HOURLY, version=2, armed_at=at(5.5)))
    assert said(state, at(5.9)) == []
    assert said(state, at(6)) == [due(at=at(6))]


def test_a_changed_schedule_counts_from_the_change() -> None:
    state = given(schedule(), flow(**HOURLY))
    evolve(state, stored(sent(schedule(version=2, cron_expression="30 * * * *", armed_at=at(0.75))), 1))
    assert state.wake_at == at(1.5)


@pytest.mark.parametrize(
    ("catch_up", "window", "missed", "fired"),
    [
        ("none", 86_400, (1, 3), []),
        ("last", 86_400, (1, 2), [3]),
        ("all", 86_400, None, [1, 2, 3]),
        ("all", 2 * 3600, (1, 1), [2, 3]),
        ("last", 60, (1, 3), []),
    ],
)
def test_after_downtime(catch_up: str, window: int, missed: tuple[int, int] | None, fired: list[int]) -> None:
    state = given(schedule(catch_up=catch_up, catch_up_window_seconds=window), flow(**HOURLY))
    events = said(state, at(3.5))
    assert [event.occurrence for event in events if isinstance(event, FlowDue)] == [at(hour) for hour in fired]
    gaps = [(event.first, event.last, event.count) for event in events if isinstance(event, FlowMissed)]
    assert gaps == ([(at(missed[0]), at(missed[1]), missed[1] - missed[0] + 1)] if missed else [])


def test_downtime_that_ends_on_time_runs_what_is_on_time() -> None:
    state = given(schedule(), flow(**HOURLY))
    missed, fired = said(state, at(3, 5))
    assert (missed.count, fired) == (2, due(at=at(3)))


@given_(
    pauses=st.lists(st.integers(1, 5 * 3600), min_size=1, max_size=30),
    catch_up=st.sampled_from(["none", "last", "all"]),
)
def test_every_occurrence_has_exactly_one_outcome(pauses: list[int], catch_up: str) -> None:
    state = given(schedule(catch_up=catch_up), flow(**HOURLY))
    now, outcomes = T0, list[datetime]()
    for pause in pauses:
        now += timedelta(seconds=pause)
        for event in said(state, now):
            if isinstance(event, FlowDue):
                outcomes.append(event.occurrence)
            else:
                outcomes += [event.first + timedelta(hours=hour) for hour in range(event.count)]
                assert outcomes[-1] == event.last
            evolve(state, stored(sent(event), 1))
    hours = int((now - T0).total_seconds() // 3600)
    assert outcomes == [at(hour) for hour in range(1, hours + 1)]


def test_flows_on_one_schedule_are_all_due() -> None:
    state = given(schedule(), *(flow(f"f{number}", **HOURLY) for number in range(50)))
    assert len(said(state, at(1))) == 50


# --- edits around an occurrence ---------------------------------------------------------------------------------------


def edited(state: State, change: Message, hours: float, seconds: float = 0) -> None:
    evolve(state, stored(sent(change, time=at(hours, seconds)), 1))


@pytest.mark.parametrize("fired_before", [False, True], ids=["edit first", "fired first"])
@pytest.mark.parametrize(
    ("change", "then"),
    [
        (schedule(version=2, cron_expression="0 */2 * * *", armed_at=at(1, 0.2)), at(2)),
        (schedule(version=2, cron_expression="30 * * * *", armed_at=at(1, 0.2)), at(1.5)),
        (schedule(version=2, enabled=False), None),
        (flow(**HOURLY, version=2, enabled=False), None),
        (flow(version=2, armed_at=at(1, 0.2)), None),
        (FlowDefined(id="flow-1", version=2, definition=None), None),
    ],
    ids=["same hour", "other minute", "schedule off", "flow off", "no schedule", "deleted"],
)
def test_an_edit_in_the_second_of_an_occurrence(change: Message, then: datetime | None, *, fired_before: bool) -> None:
    """The clock struck before the edit: the occurrence has its one outcome, whoever came first on the log."""
    state = given(schedule(), flow(**HOURLY))
    if fired_before:
        for event in said(state, at(1, 0.1)):
            evolve(state, stored(sent(event), 1))
    edited(state, change, 1, 0.2)
    events = said(state, at(1, 0.3))
    assert events == ([] if fired_before else [due(at=at(1))])
    for event in events:
        evolve(state, stored(sent(event), 1))
    assert said(state, at(1, 0.4)) == []
    assert state.wake_at == then


def test_an_edit_just_before_an_occurrence_decides_about_it() -> None:
    state = given(schedule(), flow(**HOURLY))
    edited(state, schedule(version=2, cron_expression="1 * * * *", armed_at=at(1, -0.1)), 1, -0.1)
    assert said(state, at(1, 1)) == []
    assert said(state, at(1, 60)) == [due(at=at(1, 60))]


def test_a_command_that_was_slow_on_its_way_fires_nothing_twice() -> None:
    """It was given before the occurrence, and took effect after it had been fired."""
    state = given(schedule(), flow(**HOURLY))
    for event in said(state, at(1)):
        evolve(state, stored(sent(event), 1))
    edited(state, schedule(version=2, cron_expression="0 * * * *", timezone="Etc/UTC", armed_at=at(1, -0.5)), 1, -0.5)
    assert said(state, at(1, 5)) == []
    assert state.wake_at == at(2)


def test_what_was_owed_when_a_schedule_was_edited_during_downtime_is_not_forgotten() -> None:
    """Down from one to five; edited at half past two: occurrences of both calendars are owed, each once."""
    state = given(schedule(catch_up="all"), flow(**HOURLY), due(at=at(1)))
    edited(state, schedule(version=2, catch_up="all", cron_expression="45 * * * *", armed_at=at(2.5)), 2.5)
    fired = [event.occurrence for event in said(state, at(5)) if isinstance(event, FlowDue)]
    assert fired == [at(2), at(2.75), at(3.75), at(4.75)]


def test_many_edits_leave_one_outcome() -> None:
    """Fifty edits in the second of the occurrence, each a new version on another schedule that matches it too."""
    state = given(schedule(), schedule("schedule-2"), flow(**HOURLY))
    for number in range(50):
        seconds = -0.5 + number / 50
        name = f"schedule-{number % 2 + 1}"
        edited(state, flow(schedule_id=name, version=number + 2, armed_at=at(1, seconds)), 1, seconds)
    (event,) = said(state, at(1, 1))
    assert isinstance(event, FlowDue)
    assert event.occurrence == at(1)


def test_pausing_is_not_downtime_unless_it_is_asked_for() -> None:
    paused = [schedule(catch_up="all"), flow(**HOURLY), due(at=at(1))]
    off, on = flow(**HOURLY, version=2, enabled=False), flow(**HOURLY, version=3, armed_at=at(4.5))
    state = given(*paused)
    edited(state, off, 1.5)
    edited(state, on, 4.5)
    assert said(state, at(4.9)) == []
    state = given(*paused)
    edited(state, off, 1.5)
    edited(state, flow(**HOURLY, version=3), 4.5)  # `run_missed`: it keeps the instant since when it is scheduled
    assert said(state, at(4.9)) == [due(at=at(hour)) for hour in (2, 3, 4)]


def test_nothing_is_owed_from_before_the_horizon() -> None:
    """The log has forgotten what became of it."""
    state = State(horizon=at(10))
    for event in (vm(), group(), repository(), schedule(catch_up="all"), flow(**HOURLY)):
        evolve(state, stored(sent(event), 1))
    assert said(state, at(12.5)) == [due(at=at(11)), due(at=at(12))]


def test_a_spread_delays_each_flow_by_its_own_time_and_keeps_the_occurrence() -> None:
    spec = schedule(jitter_seconds=1800)
    state = given(spec, *(flow(f"f{number}", **HOURLY) for number in range(100)))
    assert spec.definition is not None
    offsets = {f"f{number}": calendar.jitter(spec.definition, f"f{number}") for number in range(100)}
    assert len(set(offsets.values())) > 50
    half = at(1, 900)
    events = said(state, half)
    assert {event.flow_id for event in events} == {id_ for id_, offset in offsets.items() if at(1) + offset <= half}
    assert {event.occurrence for event in events if isinstance(event, FlowDue)} == {at(1)}
    for event in events:
        evolve(state, stored(sent(event), 1))
    assert len(said(state, at(1, 1801))) == 100 - len(events)
