"""Traces, made from the log: each execution is one tree, from what led to it to the last attempt."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from bus import trace
from bus.envelope import Stored
from schemas.events import AttemptEvent, BackupRequested, BackupStarted, FlowCompleted, FlowStarted
from services.tracer.domain import Span, State, evolve
from tests.histories.files import FOLDER, load
from tests.support import T0, due, history, sent, stored

HISTORIES = sorted(FOLDER.glob("*.jsonl"))


def spans_of(entries: list[Stored]) -> tuple[State, list[Span]]:
    state = State()
    return state, [span for entry in entries for span in evolve(state, entry)]


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
def test_each_execution_is_one_tree_whose_spans_begin_within_their_parents(file: Path) -> None:
    entries = load(file)
    _, spans = spans_of(entries)
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans)  # none ends twice
    completed = [one for one in entries if isinstance(one.envelope.data, FlowCompleted)]
    executions = [span for span in spans if span.name == "execution"]
    assert len(executions) == len(completed)
    for span in spans:
        assert span.start <= span.end
        if span.name in {"backup", "attempt"} and span.parent_id in by_id:
            parent = by_id[span.parent_id]
            assert parent.trace_id == span.trace_id
            assert parent.start <= span.start or span.service != parent.service  # clocks of processes differ
        if span.name == "execution":
            causes = [one for one in spans if one.span_id == span.parent_id]
            assert {one.trace_id for one in causes} <= {span.trace_id}


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
def test_a_restart_at_any_place_exports_every_span_once(file: Path) -> None:
    entries = load(file)
    _, spans = spans_of(entries)
    for stop in range(0, len(entries), 7):
        state, before = spans_of(entries[:stop])
        floor = stop and (entries[stop - 1].sequence if state.oldest is None else state.oldest - 1)
        exported = entries[stop - 1].sequence if stop else 0
        again, after = State(), list[Span]()
        for entry in entries:
            if entry.sequence > floor:
                ended = evolve(again, entry)
                after += ended if entry.sequence > exported else []
        assert [*before, *after] == spans


def test_attempts_of_a_backup_are_told_apart() -> None:
    entries = load(FOLDER / "attempts_and_retry.jsonl")
    _, spans = spans_of(entries)
    attempts = [one for one in entries if isinstance(one.envelope.data, BackupStarted)]
    found = [span for span in spans if span.name == "attempt"]
    assert {span.span_id for span in found} == {trace.span_id(one.envelope.id) for one in attempts}
    assert any(span.error for span in found)
    assert any(span.error is None for span in found)


def test_lateness_is_the_length_of_the_first_span() -> None:
    occurrence = T0 - timedelta(minutes=3)
    entries = load(FOLDER / "scheduled.jsonl")
    started = next(one for one in entries if isinstance(one.envelope.data, FlowStarted))
    _, spans = spans_of(entries)
    execution = next(one for one in spans if one.span_id == trace.span_id(started.envelope.id))
    first = next(one for one in spans if one.span_id == execution.parent_id)
    data = started.envelope.data
    assert isinstance(data, FlowStarted)
    assert first.name == "flow.due"
    assert (first.start, first.end, first.parent_id) == (data.occurrence, started.envelope.time, None)
    assert first.trace_id == execution.trace_id == trace.trace_id(data.execution_id)
    state, none = spans_of(history(due(at=occurrence)))
    assert not none
    assert state.oldest == 1


def test_every_message_of_an_execution_says_which_trace_it_is_of() -> None:
    event = sent(due(), id="due:f:1", correlationid="e")
    assert event.traceparent == trace.traceparent("e", "due:f:1")
    assert trace.parse(event.traceparent) == (trace.trace_id("e"), trace.span_id("due:f:1"))


@pytest.mark.parametrize(
    "text", [None, "", "00-1-1-01", f"00-{'0' * 32}-{'1' * 16}-01", f"01-{'1' * 32}-{'1' * 16}-01", "é" * 55]
)
def test_what_is_no_trace_context_is_none(text: str | None) -> None:
    assert trace.parse(text) is None


def test_what_was_never_requested_or_began_before_the_first_message_is_no_error() -> None:
    entries = load(FOLDER / "attempts_and_retry.jsonl")
    ends = [one for one in entries if isinstance(one.envelope.data, AttemptEvent | FlowCompleted)]
    assert not any(isinstance(one.envelope.data, BackupRequested) for one in ends)
    state, spans = spans_of(ends)
    assert not spans
    assert state.oldest is None


def test_a_request_from_outside_is_linked() -> None:
    outside = f"00-{'a' * 32}-{'b' * 16}-01"
    entries = load(FOLDER / "ad_hoc.jsonl")
    command = next(one for one in entries if one.envelope.type.startswith("command.backup"))
    changed = [
        stored(sent(one.envelope.data, id=one.envelope.id, time=one.envelope.time, traceparent=outside), one.sequence)
        if one is command
        else one
        for one in entries
    ]
    _, spans = spans_of(changed)
    linked = [span for span in spans if span.link is not None]
    assert [span.link for span in linked] == [("a" * 32, "b" * 16)]
    execution = next(span for span in spans if span.name == "execution")
    assert linked[0].trace_id == execution.trace_id
