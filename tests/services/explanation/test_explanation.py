"""Why a flow ran or did not: told in texts that are read aloud, from sequences that the engine's own domains made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.envelope import Stored, decode
from bus.subjects import TABLE
from services.explanation.explanation import explain, surveyed
from services.explanation.reading import BACKUPS, FIRST, beginning, question_about
from services.explanation.sentences import Question, Told
from tests.histories.files import FOLDER as HISTORIES
from tests.histories.files import load
from tests.hostile import Generator
from tests.services.explanation.all_situations import SITUATIONS
from tests.services.explanation.played import FOLDER, text
from tests.services.explanation.stage import BORN, Stage
from tests.services.story import story

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|id-of-|[a-z]+-id\b")
_FRACTION = re.compile(r"\d\d:\d\d\.\d")
_ONE_OF_MANY = re.compile(r"\b1 (VMs|backups|days|attempts|occurrences|others)\b")


def told(name: str) -> tuple[Stage, str]:
    """Play a situation, and return its stage and what is told about it."""
    stage = Stage()
    return stage, text(SITUATIONS[name](stage).sentences)


def holds(entries: Sequence[Stored], found: Told) -> None:
    """Check what must be so of every explanation: its causes are on the log, and it reads well."""
    on_log = {entry.sequence: entry.envelope for entry in entries}
    for sentence in found.sentences:
        for cause in sentence.causes:
            sent = on_log[cause.sequence]
            assert (cause.type, cause.at) == (sent.type, sent.time)
            assert cause.by in {sent.actor, sent.source}
        assert sentence.text.endswith(".")
        assert not _FRACTION.search(sentence.text), sentence.text
        assert not _ONE_OF_MANY.search(sentence.text), sentence.text


@pytest.mark.parametrize("name", sorted(SITUATIONS))
def test_a_situation_is_told_as_a_colleague_would(name: str) -> None:
    stage, found = told(name)
    assert found == (FOLDER / f"{name}.txt").read_text()
    again = explain(stage.entries, stage.question, stage.now, workers=stage.workers)
    assert again is not None
    holds(stage.entries, again)
    assert not _ID.search(found), "it names an id"


def test_there_is_a_text_for_each_situation() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(SITUATIONS)
    assert len(SITUATIONS) > 50


@pytest.mark.parametrize("name", sorted(SITUATIONS))
def test_what_is_read_in_two_steps_tells_the_same(name: str) -> None:
    """Who reads a long log reads all but the backups at first, and of these only those that matter."""
    stage = Stage()
    whole = SITUATIONS[name](stage)
    first = [one for one in stage.entries if not one.subject.startswith("backup.")]
    survey = surveyed(first)
    start = beginning(survey, stage.question)
    backups = [] if start is None else [one for one in stage.entries[start - 1 :] if one.subject.startswith("backup.")]
    entries = sorted([*first, *backups], key=lambda one: one.sequence)
    assert explain(entries, stage.question, stage.now, workers=stage.workers) == whole


def test_the_first_step_reads_all_that_is_surveyed() -> None:
    assert "flow.*.*" in FIRST
    assert {subject.split(".")[0] for subject in BACKUPS} == {"backup"}


def test_a_flow_is_found_by_its_name_and_an_execution_by_its_id() -> None:
    stage, _ = told("on_time")
    survey = surveyed(stage.entries)
    assert question_about(survey, "nightly", None) == Question(flow_id="flow-id")
    assert question_about(survey, "flow-id", None) == Question(flow_id="flow-id")
    assert question_about(survey, "x", None) == Question(execution_id="x")
    assert explain(stage.entries, Question(execution_id="x"), stage.now) is None
    assert explain(stage.entries, Question(flow_id="x"), stage.now) is None


# --- what was told falsely, or not at all -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["caught_up", "backfilled", "waited_for_the_one_before"])
def test_what_began_more_than_a_minute_late_is_told_of_by_its_own_execution(name: str) -> None:
    stage = Stage()
    found = SITUATIONS[name](stage)
    run = surveyed(stage.entries).runs[found.execution_id or ""]
    at = stage.question.at
    assert run.occurrence == at is not None
    assert run.started is not None
    assert run.started.envelope.time - at > timedelta(seconds=40)
    assert "waits for the executor" not in text(found.sentences)


def test_forty_one_seconds_of_waiting_for_the_execution_before_are_told() -> None:
    _, found = told("waited_for_the_one_before")
    assert "It waited 41 s for the execution of 02:00 (01:00 UTC) to end" in found


def test_a_flow_that_was_disabled_then_is_told_so_with_who_and_when() -> None:
    _, found = told("disabled_then")
    assert "was disabled on 2026-11-02 02:00 Europe/Berlin (01:00 UTC): bob had disabled it at" in found


def test_a_second_attempt_after_a_worker_died_is_told() -> None:
    _, found = told("a_worker_died")
    assert "attempt 1 on worker-1 never ended" in found
    assert "worker-2 took the VM over" in found


def test_what_was_running_when_it_was_cancelled_did_run() -> None:
    _, found = told("cancelled")
    assert "bob cancelled it at" in found
    assert "2 were stopped while running and 1 never began" in found


# --- whatever the log -------------------------------------------------------------------------------------------------


def all_told(entries: Sequence[Stored], now: datetime, instants: Sequence[datetime]) -> int:
    """Ask about everything on a log, check what is told, and return how much that is."""
    survey = surveyed(entries)
    flows = {run.flow_id for run in survey.runs.values()}
    questions = [Question(execution_id=id_) for id_ in survey.runs]
    questions += [Question(flow_id=id_, at=at) for id_ in flows for at in (None, *instants)]
    number = 0
    for question in questions:
        found = explain(entries, question, now)
        if found is not None:
            holds(entries, found)
            number += len(found.sentences)
    return number


@pytest.mark.parametrize("file", sorted(HISTORIES.glob("*.jsonl")), ids=lambda file: file.stem)
def test_a_recorded_history_can_be_explained_at_any_time(file: object) -> None:
    entries = load(file)  # type: ignore[arg-type]
    for length in range(1, len(entries) + 1, 11):
        part = entries[:length]
        last = part[-1].envelope.time
        all_told(part, last, [part[0].envelope.time, last, last + timedelta(days=1)])
    assert all_told(entries, entries[-1].envelope.time, []) > 5


@settings(max_examples=80)
@given(
    seed=st.integers(0, 100_000),
    share=st.floats(0.1, 1),
    away=st.timedeltas(timedelta(hours=-2), timedelta(hours=4)),
    left_out=st.sets(st.integers(0, 300), max_size=40),
)
def test_any_log_can_be_explained(seed: int, share: float, away: timedelta, left_out: set[int]) -> None:
    """Also one of which messages have expired, and up to any point of it."""
    log = story(seed, length=25)
    entries = [one for one in log[: int(len(log) * share)] if one.sequence not in left_out]
    if entries:
        now = entries[-1].envelope.time + abs(away)
        all_told(entries, now, [now + away, entries[len(entries) // 2].envelope.time])


@pytest.mark.parametrize("seed", range(6))
def test_a_hostile_log_can_be_explained(seed: int) -> None:
    """Messages of every type, with values that no service would write."""
    generator, chance = Generator(seed, wildness=0.02), Random(seed)
    shapes = [row.message for row in TABLE.values()]
    told_of = [shape for shape in shapes if shape.__name__.startswith(("Flow", "Backup", "Schedule", "Freeze"))]
    bodies = [generator.message(chance.choice(told_of if chance.random() < 0.8 else shapes)) for _ in range(150)]
    read = [
        decode(sequence=number, subject=subject, stored_at=BORN, body=body)
        for number, (subject, body) in enumerate(bodies, start=1)
    ]
    entries = [one for one in read if isinstance(one, Stored)]
    ends = [datetime(1970, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC)]
    assert all_told(entries, BORN, [BORN, *ends]) > 50
