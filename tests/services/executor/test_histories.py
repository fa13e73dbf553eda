"""Golden histories: what real runs left on the log must be decided again in the same way, by today's code.

They are recorded by `python -m tests.histories.record`. One was altered by hand, and must be found out.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.events import DeadLettered, FlowCompleted, FlowSkipped, FlowStarted
from services.executor import overlap, plan
from services.executor.replay import replay
from services.executor.state import State, evolve
from tests.histories.files import FOLDER, load
from tests.histories.record import SCENARIOS
from tests.support import sent, stored

ALTERED = FOLDER / "altered"


def test_every_scenario_has_its_history() -> None:
    assert {file.stem for file in FOLDER.glob("*.jsonl")} == set(SCENARIOS)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_history_is_decided_again_in_the_same_way(name: str) -> None:
    entries = load(FOLDER / f"{name}.jsonl")
    replayed = list(replay(entries))
    assert [one for one in replayed if not one.equal] == []
    said = [entry for entry in entries if entry.envelope.source == "executor"]
    assert len(replayed) == len(said) > 3
    state = State()
    for entry in entries:
        evolve(state, entry)
    assert (state.executions, state.triggers, state.in_flight.total) == ({}, {}, 0)
    answered = [one.envelope.data for one in said if isinstance(one.envelope.data, FlowStarted | FlowSkipped)]
    ended = [one.envelope.data for one in said if isinstance(one.envelope.data, FlowCompleted)]
    assert len({one.execution_id for one in answered}) == len(answered)
    assert {one.execution_id for one in ended} == {one.execution_id for one in answered if isinstance(one, FlowStarted)}


def test_the_time_of_a_message_that_the_executor_does_not_read_moves_no_decision() -> None:
    entries = load(FOLDER / "scheduled.jsonl")
    decided = next(one for one in entries if one.envelope.source == "executor")
    position = int(decided.envelope.decidedon or 0)
    foreign = DeadLettered(service="recorder", reason="malformed", sequence=1, subject="flow.due.x", error="no JSON")
    other = stored(sent(foreign, time=decided.stored_at + timedelta(hours=1)), position)
    replayed = replay([entry for one in entries for entry in ([one, other] if one.sequence == position else [one])])
    assert [one for one in replayed if not one.equal] == []


def test_a_changed_rule_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody lets a second execution wait where it was skipped; and somebody forgets a limit."""
    monkeypatch.setitem(overlap._ROOM, "skip", 1)
    first = next(one for one in replay(load(FOLDER / "overlap_skip.jsonl")) if not one.equal)
    assert first.entry is not None
    assert first.entry.envelope.type == "flow.skipped"
    assert first.today is None
    monkeypatch.undo()
    monkeypatch.setattr(plan, "PART", 1)
    first = next(one for one in replay(load(FOLDER / "scheduled.jsonl")) if not one.equal)
    assert first.entry is not None
    assert first.entry.envelope.type == "flow.started"  # it says in how many parts its plan comes


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("a_skip_for_another_reason", "skipped:"),
        ("a_backup_over_the_limit", "requested:"),
        ("an_end_that_is_miscounted", "completed:"),
    ],
)
def test_an_altered_history_is_found_out(name: str, first: str) -> None:
    differences = [one for one in replay(load(ALTERED / f"{name}.jsonl")) if not one.equal]
    assert differences
    entry, today = differences[0].entry, differences[0].today
    assert entry is not None or today is not None
    found = entry.envelope.id if entry is not None else today.id if today is not None else ""
    assert found.startswith(first)
