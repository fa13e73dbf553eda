"""Why a flow ran at an instant, or did not, or what became of an execution: a fold over messages of the log. Pure.

`explain` takes any part of a log that has what it is about; what is not there is not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import structs

from bus.envelope import Stored
from schemas.definitions import Flow
from schemas.events import FlowDue, FlowMissed
from services.explanation import absence, beginning, ending, running, skipping
from services.explanation.absence import NEAR, nearest
from services.explanation.course import Course
from services.explanation.sentences import Question, Sentence, Told
from services.explanation.story import Story
from services.explanation.survey import Run, Survey
from services.explanation.words import Clock

TOLD = 3  # runs of one occurrence: by its schedule, and by backfills

Workers = Sequence[Mapping[str, str]] | None
Subject = Run | Stored | None  # a run, a `flow.missed`, or nothing at all


def explain(
    entries: Sequence[Stored],
    question: Question,
    now: datetime,
    *,
    complete: bool = True,
    others: bool = True,
    workers: Workers = None,
) -> Told | None:
    """Return what the log tells about a flow or an execution; None when it knows of no such thing.

    `entries`: in order; messages of other flows matter as far as these hold slots meanwhile. `complete`: nothing about
    the execution itself is left out of them. `others`: nor of what other flows did. `workers`: the labels of each that
    is there; None: not known.
    """
    survey = surveyed(entries)
    if question.execution_id is not None:
        run = survey.runs.get(question.execution_id)
        if run is None or not run.known:
            return None
        return _with_rest(
            _told(entries, survey, run.flow_id, [run], None, now, others=others, workers=workers), complete
        )
    flow_id = question.flow_id
    if flow_id is None or not (survey.definitions.of("flow", flow_id) or survey.of_flow(flow_id)):
        return None
    subjects = about(survey, flow_id, question.at)
    told = _with_rest(
        _told(entries, survey, flow_id, subjects, question.at, now, others=others, workers=workers), complete
    )
    story = Story(survey=survey, clock=_clock(survey, flow_id, subjects, question.at or now), now=now)
    return structs.replace(told, sentences=[*told.sentences, *absence.coming(story, flow_id)])


def _with_rest(told: Told, complete: bool) -> Told:
    """Return an explanation with the remark that there is more to tell, if so."""
    rest = Sentence(text="The log has more messages about it than are told here.")
    return told if complete else structs.replace(told, sentences=[*told.sentences, rest])


def surveyed(entries: Iterable[Stored]) -> Survey:
    """Return the survey of messages."""
    survey = Survey()
    for entry in entries:
        survey.take(entry)
    return survey


def about(survey: Survey, flow_id: str, at: datetime | None) -> Sequence[Subject]:
    """Return what a question about a flow at an instant is about: its last trigger when `at` is None."""
    runs, missed = survey.of_flow(flow_id), survey.missed.get(flow_id, [])
    if at is None:
        last = runs[-1:]
        newest = missed[-1:]
        if newest and (not last or newest[0].sequence > last[0].first.sequence):
            return newest
        return last or [None]
    of_occurrence = [run for run in runs if run.occurrence is not None and abs(run.occurrence - at) < NEAR]
    if of_occurrence:
        first = min(of_occurrence, key=lambda run: abs(_occurrence(run, at) - at)).occurrence
        return [run for run in of_occurrence if run.occurrence == first][:TOLD]
    passed = [entry for entry in missed if _covers(survey, entry, at)]
    if passed:
        return passed[:1]
    begun = [run for run in runs if abs(run.first.envelope.time - at) < NEAR]
    if begun:
        return [min(begun, key=lambda run: abs((run.started or run.first).envelope.time - at))]
    return [None]


def _occurrence(run: Run, default: datetime) -> datetime:
    return run.occurrence or default


def _covers(survey: Survey, entry: Stored, at: datetime) -> bool:
    """Tell whether an occurrence near an instant is among those that were missed."""
    event = entry.envelope.data
    if not isinstance(event, FlowMissed) or not event.first - NEAR < at < event.last + NEAR:
        return False
    schedule = survey.definitions.schedule(event.schedule_id, entry.sequence)
    near = nearest(schedule, at) if schedule else None
    return schedule is None or (near is not None and near.fires)


def _told(
    entries: Sequence[Stored],
    survey: Survey,
    flow_id: str,
    subjects: Sequence[Subject],
    at: datetime | None,
    now: datetime,
    *,
    others: bool,
    workers: Workers,
) -> Told:
    """Return all that is told about subjects, up to when the flow runs next."""
    clock = _clock(survey, flow_id, subjects, at or now)
    story = Story(survey=survey, clock=clock, now=now, others=others, workers=workers)
    first = subjects[0]
    sequence = _sequence(survey, flow_id, first, at)
    sentences = list(beginning.described(story, flow_id, sequence))
    for subject in subjects:
        match subject:
            case Run():
                sentences += _of_run(story, entries, subject)
            case Stored():
                sentences += skipping.missed(story, subject)
            case None if at is not None:
                sentences += absence.absent(story, flow_id, at)
            case None:
                sentences.append(
                    Sentence(text="It has not run yet: nothing has been due, and nobody has asked for it.")
                )
    execution_id = first.id if isinstance(first, Run) and first.started is not None else None
    return Told(flow_id=flow_id, at=at or _moment(first, now), execution_id=execution_id, sentences=sentences)


def _of_run(story: Story, entries: Sequence[Stored], run: Run) -> Iterator[Sentence]:
    """Yield all about one trigger, in the order in which it happened."""
    yield from beginning.triggered(story, run)
    if run.skipped is not None:
        yield from skipping.skipped(story, run)
        return
    if run.started is None or run.terms is None:
        yield from beginning.waiting(story, run)
        return
    yield from beginning.waited(story, run)
    course = Course(story.survey, run, run.started, run.terms).fold(entries)
    yield from beginning.began(story, run, at_once=running.at_once(run, course))
    happened = [
        *running.slots(story, run, course),
        *running.workers(story, course),
        *running.attempts(story, course),
        *ending.stops(story, run, course),
        *ending.left(story, run, course),
    ]
    yield from sorted(happened, key=_when)
    yield from ending.ended(story, run, course)
    yield from ending.under_way(story, run, course)


def _when(told: Sentence) -> int:
    """Return the sequence at which what is told was over."""
    return max((cause.sequence for cause in told.causes), default=0)


def _moment(subject: Subject, now: datetime) -> datetime:
    """Return the instant that a subject is about."""
    match subject:
        case Run():
            return subject.occurrence or subject.first.envelope.time
        case Stored(envelope=sent) if isinstance(sent.data, FlowMissed):
            return sent.data.last
        case _:
            return now


def _sequence(survey: Survey, flow_id: str, subject: Subject, at: datetime | None) -> int:
    """Return the position of the log at which the definitions are those that a subject is about."""
    match subject:
        case Run():
            return (subject.trigger or subject.first).sequence
        case Stored():
            return subject.sequence
        case None if at is not None:
            changes = [survey.definitions.before("flow", flow_id, at)]
            flow = changes[0].definition if changes[0] else None
            if isinstance(flow, Flow):
                changes.append(survey.definitions.before("schedule", flow.schedule_id, at))
            return max((one.entry.sequence for one in changes if one is not None), default=survey.last)
        case None:
            return survey.last


def _clock(survey: Survey, flow_id: str, subjects: Sequence[Subject], around: datetime) -> Clock:
    """Return the clock of the schedule that a subject is about, on its day."""
    subject = subjects[0]
    at = _moment(subject, around)
    schedule = None
    if isinstance(subject, Run) and subject.trigger and isinstance(due := subject.trigger.envelope.data, FlowDue):
        schedule = survey.definitions.schedule(due.schedule_id, subject.trigger.sequence)
    if schedule is None:
        flow = survey.definitions.flow(flow_id, _sequence(survey, flow_id, subject, around))
        schedule = survey.definitions.schedule(flow.schedule_id, survey.last) if flow else None
    return Clock.of(schedule.timezone if schedule else "UTC", at)
