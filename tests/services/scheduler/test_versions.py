"""Which definition was in force: given versions, when a flow is said to be due, then it was, or it was not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas.base import Message
from schemas.events import FlowDefined
from schemas.ids import scheduled_execution_id
from services.executor.domain import decide
from services.executor.state import State, evolve
from services.scheduler import domain as scheduler
from tests.support import T0, due, flow, group, repository, schedule, sent, stored, vm

ON = {"schedule_id": "schedule-1"}
MINUTES = "*/5 * * * *"


def at(minutes: float) -> Any:
    return T0 + timedelta(minutes=minutes)


HOUSE: list[tuple[float, Message]] = [
    (0, vm("vm-0")),
    (0, group(members=["vm-0"])),
    (0, repository()),
    (0, schedule(cron_expression=MINUTES)),
    (0, schedule("hourly")),
    (0, flow(**ON)),
]
KNOWN = len(HOUSE)  # the position up to which the stale scheduler had read


def said(*changes: tuple[float, Message], occurrence: float, decidedon: int = KNOWN) -> str:
    """Return what becomes of an occurrence that is said to be due after these changes, decided on a position."""
    state, other = State(), scheduler.State(horizon=T0)
    history = [*HOUSE, *changes]
    entries = [stored(sent(message, time=at(time)), number) for number, (time, message) in enumerate(history, start=1)]
    word = sent(due(at=at(occurrence)), time=at(60), decidedon=decidedon)
    for entry in [*entries, stored(word, len(entries) + 1)]:
        evolve(state, entry)
        scheduler.evolve(other, entry)
    (trigger,) = state.triggers.values()
    assert trigger.outdated == (other.accounted.get("flow-1") != at(occurrence)), "everybody tells the same"
    first = decide(state)[0][0].event
    return first.reason if hasattr(first, "reason") else type(first).__name__


@pytest.mark.parametrize(
    ("changes", "occurrence", "expected"),
    [
        ([], 10, "FlowStarted"),
        ([(7, flow(version=2, enabled=False, **ON))], 10, "definition_changed"),
        ([(7, flow(version=2, enabled=False, **ON))], 5, "flow_disabled"),  # it was due before it was disabled
        ([(7, flow(version=2, name="renamed", **ON))], 10, "FlowStarted"),
        ([(7, flow(version=2, schedule_id="hourly", armed_at=at(7)))], 10, "definition_changed"),
        ([(7, flow(version=2, schedule_id="hourly", armed_at=at(7)))], 60, "FlowStarted"),  # the new one has it too
        ([(7, schedule(version=2, cron_expression="*/7 * * * *", armed_at=at(7)))], 10, "definition_changed"),
        ([(7, schedule(version=2, cron_expression="*/7 * * * *", armed_at=at(7)))], 35, "FlowStarted"),
        ([(7, schedule(version=2, cron_expression=MINUTES, enabled=False))], 10, "definition_changed"),
        ([(7, FlowDefined(id="flow-1", version=2, definition=None))], 10, "flow_deleted"),
        (
            # disabled at the time, enabled again by now: it was not due then, though it would be today
            [(7, flow(version=2, enabled=False, **ON)), (12, flow(version=3, armed_at=at(12), **ON))],
            10,
            "definition_changed",
        ),
        (
            [(7, flow(version=2, enabled=False, **ON)), (12, flow(version=3, armed_at=at(12), **ON))],
            15,
            "FlowStarted",
        ),
    ],
)
def test_what_becomes_of_an_occurrence_said_by_a_stale_scheduler(
    changes: list[tuple[float, Message]], occurrence: float, expected: str
) -> None:
    assert said(*changes, occurrence=occurrence) == expected


def test_a_scheduler_that_had_read_the_change_is_believed() -> None:
    change = (7, flow(version=2, name="renamed", armed_at=at(59), **ON))
    assert said(change, occurrence=10, decidedon=KNOWN + 1) == "FlowStarted"


def test_after_a_word_that_does_not_count_the_occurrence_keeps_its_right_outcome() -> None:
    """A stale scheduler says 12:10 by the old calendar; by the new one 12:07 is due, and still gets its outcome."""
    state = scheduler.State(horizon=T0)
    changed = schedule(version=2, cron_expression="7 * * * *", armed_at=at(6))
    history = [*((0, message) for _, message in HOUSE), (6, changed)]
    for number, (time, message) in enumerate(history, start=1):
        scheduler.evolve(state, stored(sent(message, time=at(time)), number))
    scheduler.evolve(state, stored(sent(due(at=at(5)), time=at(6), decidedon=KNOWN), 8))
    scheduler.evolve(state, stored(sent(due(at=at(10)), time=at(10), decidedon=KNOWN), 9))
    (events,) = scheduler.decide(state, at(7.5))
    assert [event.occurrence for event in events] == [at(7)]  # type: ignore[union-attr]


def test_what_was_skipped_as_outdated_is_not_due_again_when_definitions_change_back() -> None:
    """Disabled, fired by a stale scheduler and skipped, enabled again with what was missed: its outcome stays."""
    state = scheduler.State(horizon=T0)
    history = [*((0, message) for _, message in HOUSE), (6, flow(version=2, enabled=False, **ON))]
    for number, (time, message) in enumerate(history, start=1):
        scheduler.evolve(state, stored(sent(message, time=at(time)), number))
    scheduler.evolve(state, stored(sent(due(at=at(5)), time=at(5), decidedon=KNOWN), 8))
    scheduler.evolve(state, stored(sent(due(at=at(10)), time=at(10), decidedon=KNOWN), 9))
    scheduler.evolve(state, stored(sent(flow(version=3, **ON), time=at(16)), 10))  # as `run_missed` does
    assert state.wake_at == at(15)
    (events,) = scheduler.decide(state, at(16))
    assert [event.occurrence for event in events] == [at(15)]  # type: ignore[union-attr]
    scheduler.evolve(state, stored(sent(due(at=at(15)), time=at(16), decidedon=10), 11))
    assert state.wake_at == at(20)
    assert state.skipped == {}


def test_what_was_skipped_before_the_checkpoint_is_not_due_again() -> None:
    """A restarted scheduler knows it from the executor's checkpoint alone."""
    state = scheduler.State(horizon=T0)
    for number, (time, message) in enumerate(HOUSE, start=1):
        scheduler.evolve(state, stored(sent(message, time=at(time)), number))
    state.deadlines.processed.add(scheduled_execution_id("flow-1", at(5)), 0)
    assert state.wake_at == at(10)
    assert scheduler.decide(state, at(6)) == []
