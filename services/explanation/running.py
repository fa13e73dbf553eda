"""How the backups of an execution went: what they waited for, which attempts they took, and what failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import zip_longest

from bus.envelope import Stored
from schemas.events import BackupFailed, BackupRequested, BackupRetrying, FlowStarted
from schemas.ids import AD_HOC
from schemas.labels import canonical
from services.explanation.course import Attempt, Course, Job
from services.explanation.sentences import Sentence, sentence, who
from services.explanation.slots import Wait
from services.explanation.story import Story
from services.explanation.survey import Run
from services.explanation.words import NAMED, are, duration, listed, number, plain

NOTICED = timedelta(seconds=1)  # a shorter wait for a slot is none
TAKEN = timedelta(seconds=5)  # so long a request may be on its way to a worker
TOLD = 5  # VMs that are told of one by one


def at_once(run: Run, course: Course) -> bool:
    """Tell whether each VM got its slot when the execution began."""
    started = run.started
    return started is not None and all(job.requests and _waited(job, started) < NOTICED for job in course.jobs.values())


def slots(story: Story, run: Run, course: Course) -> Iterator[Sentence]:
    """Yield how long backups waited for their slots."""
    started, terms = run.started, run.terms
    if started is None or terms is None or at_once(run, course):
        return
    requested = [job for job in course.jobs.values() if job.requests]
    late = [job for job in requested if _waited(job, started) >= NOTICED]
    if early := [job for job in requested if job not in late]:
        names = [job.name for job in early]
        told = f"{listed(names)} got {are(names, 'its slot', 'their slots')} at once."
        yield sentence(told, *(job.requests[0] for job in early[:NAMED]))
    for jobs in _grouped(late):
        yield _slot(story, terms, started, jobs)


def _waited(job: Job, started: Stored) -> timedelta:
    return job.requests[0].envelope.time - started.envelope.time


def _grouped(jobs: Iterable[Job]) -> list[list[Job]]:
    """Return jobs together that waited for the same kind of thing, of VMs that were busy each for itself."""
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        kind = job.wait.obstacle.kind if job.wait else ""
        holder = job.wait.holder.flow_id if job.wait and job.wait.holder and kind == "vm" else ""
        groups.setdefault((kind, holder), []).append(job)
    return list(groups.values())


def _slot(story: Story, terms: FlowStarted, started: Stored, jobs: Sequence[Job]) -> Sentence:
    last = max(jobs, key=lambda job: job.requests[0].sequence)
    wait, request = last.wait, last.requests[0]
    span = duration(_waited(last, started))
    names = [job.name for job in jobs]
    freed = _freed(story, wait, request)
    if wait is not None and wait.obstacle.kind == "vm":
        busy = f"as {_holder(story, terms, wait)} was backing {are(names, 'it', 'them')} up"
        text = f"{names[0]} waited {span}, {busy}, {freed}."
        if len(jobs) > 1:
            text = f"{listed(names)} waited, {busy}: the last of them, {last.name}, {span}, {freed}."
    elif len(jobs) == 1:
        text = f"{names[0]} waited {span} for {awaited(story, terms, wait)}, {freed}."
    else:
        what = awaited(story, terms, wait)
        text = f"{listed(names)} waited for {what}; the last of them, {last.name}, {span}, {freed}."
    return sentence(text, wait.until if wait else None, request)


def _holder(story: Story, terms: FlowStarted, wait: Wait) -> str:
    """Return who has a VM that another backup waits for."""
    if wait.holder is None:
        return "another execution"
    if wait.holder.flow_id == terms.flow_id:
        return "another execution of the same flow"
    return f"flow {story.flow_name(wait.holder.flow_id)!r}" if wait.holder.flow_id != AD_HOC else "a backup by hand"


def awaited(story: Story, terms: FlowStarted, wait: Wait | None) -> str:
    """Return what a backup waits for."""
    if wait is None:
        return "a slot"
    limit = wait.obstacle.limit
    match wait.obstacle.kind:
        case "total":
            return f"a slot of the engine, which runs {number(limit, 'backup')} at a time in all"
        case "flow":
            return f"a slot of the flow, which backs up {number(limit, 'VM')} at a time"
        case "repository":
            repository = story.survey.definitions.name("repository", terms.repository_id, story.survey.last)
            return f"a slot of repository {repository!r}, which takes {number(limit, 'backup')} at a time"
        case "vm":
            return f"{_holder(story, terms, wait)}, which is backing the same VM up"


def _freed(story: Story, wait: Wait | None, requested: Stored) -> str:
    """Return until when a backup waited, and what made its slot or VM free."""
    at = story.clock.at(requested.envelope.time)
    if wait is None or wait.until is None or wait.obstacle.kind == "vm":
        return f"until {at}"
    at = story.clock.at(wait.until.envelope.time)
    if wait.holder is None:
        return f"until {who(wait.until)} changed the limit at {at}"
    flow = wait.holder.flow_id
    of = "" if flow == requested.envelope.subject else f" of flow {story.flow_name(flow)!r}"
    return f"until {wait.holder.backup.vm_name}{of} ended at {at}"


def workers(story: Story, course: Course) -> Iterator[Sentence]:
    """Yield how long requests waited for a worker, and which were lost."""
    slow = [job for job in course.jobs.values() if _until_taken(job) >= TAKEN]
    if slow:
        slowest = max(slow, key=_until_taken)
        first = slowest.attempts[0]
        more = f"; {number(len(slow) - 1, 'other VM')} waited too" if len(slow) > 1 else ""
        yield sentence(
            f"{slowest.name} waited {duration(_until_taken(slowest))} for a worker to take it, which "
            f"{first.worker} did at {story.clock.at(first.started.envelope.time)}{more}.",
            slowest.requests[0],
            first.started,
        )
    requested = [job for job in course.jobs.values() if len(job.requests) > 1]
    for job in (moved := [job for job in requested if labels_of(job.requests[-1]) != labels_of(job.requests[-2])]):
        labels, newest = canonical(labels_of(job.requests[-1])), job.requests[-1]
        which = f"a worker with {labels}" if labels else "any worker"
        at = story.clock.at(newest.envelope.time)
        yield sentence(f"{job.name} was requested again at {at}, of {which}, as labels had changed.", newest)
    if again := [job for job in requested if job not in moved]:
        newest, names = again[0].requests[-1], [job.name for job in again]
        yield sentence(
            f"{listed(names)} {are(names, 'was', 'were')} requested again at "
            f"{story.clock.at(newest.envelope.time)}: no worker had the request, and the queue had lost it.",
            newest,
        )


def labels_of(request: Stored) -> Mapping[str, str]:
    """Return the labels that the worker must have which a request is for."""
    event = request.envelope.data
    return event.worker_labels if isinstance(event, BackupRequested) else {}


def _until_taken(job: Job) -> timedelta:
    if not job.requests or not job.attempts:
        return timedelta()
    return job.attempts[0].started.envelope.time - job.requests[0].envelope.time


def attempts(story: Story, course: Course) -> Iterator[Sentence]:
    """Yield what attempts failed, or were cut off as their worker died, and which backups failed in the end."""
    at_once: dict[str, list[Job]] = {}  # by error: what failed in its first attempt
    eventful: list[Job] = []
    for job in course.jobs.values():
        error = job.end.envelope.data if job.end else None
        if len(job.attempts) == 1 and isinstance(error, BackupFailed) and not _failing(job):
            at_once.setdefault(plain(error.error), []).append(job)
        elif len(job.attempts) > 1 or isinstance(error, BackupFailed) or _failing(job):
            eventful.append(job)
    for error, jobs in [*at_once.items()][:TOLD]:
        yield _failed(story, error, jobs)
    # those that failed for good come first: they are what is asked about
    eventful.sort(key=lambda job: job.outcome != "failed")
    for job in eventful[:TOLD]:
        yield _history(story, job)
    rest = [*(job for jobs in [*at_once.values()][TOLD:] for job in jobs), *eventful[TOLD:]]
    if rest:
        failed = sum(job.outcome == "failed" for job in rest)
        told = f"{number(len(rest), 'more VM')} failed or took more than one attempt; {failed:,} failed for good."
        yield sentence(told, rest[0].end or rest[0].attempts[-1].started)


def _failed(story: Story, error: str, jobs: Sequence[Job]) -> Sentence:
    first = jobs[0]
    assert first.end is not None
    names = [job.name for job in jobs]
    at = f"{'the first ' if len(jobs) > 1 else ''}at {story.clock.at(first.end.envelope.time)}"
    place = f" on {first.attempts[0].worker}"
    told = f"{listed(names)} failed{',' if len(jobs) > 1 else ''} {at}{place}: {error}."
    return sentence(told, *(job.end for job in jobs[:NAMED]))


def _failing(job: Job) -> bool:
    return any(attempt.failed for attempt in job.attempts)


def _history(story: Story, job: Job) -> Sentence:
    """Tell of each attempt at a backup, and of its end."""
    causes: list[Stored | None] = []
    pieces: list[str] = []
    for attempt, following in zip_longest(job.attempts, job.attempts[1:]):
        causes += [attempt.started, attempt.failed]
        pieces.append(_attempt(story, job, attempt, following))
    if not job.attempts and job.end is not None:
        error = job.end.envelope.data
        pieces.append(plain(error.error) if isinstance(error, BackupFailed) else "it ended")
    if len(pieces) > TOLD + 1:
        pieces = [*pieces[:2], f"attempts 3 to {len(pieces) - 1} went likewise", pieces[-1]]
    many = f"{job.name} took {number(len(job.attempts), 'attempt')}" if len(job.attempts) > 1 else job.name
    return sentence(f"{many}: {'; '.join(pieces)}.", *causes, job.end)


def _attempt(story: Story, job: Job, attempt: Attempt, following: Attempt | None) -> str:
    which = f"attempt {attempt.number} on {attempt.worker}"
    if attempt.failed is not None and isinstance(failed := attempt.failed.envelope.data, BackupRetrying):
        again = "" if following else f", the next follows {duration(timedelta(seconds=failed.delay_seconds))} later"
        return f"{which} failed at {story.clock.at(attempt.failed.envelope.time)}: {plain(failed.error)}{again}"
    if following is not None:
        taken = story.clock.at(following.started.envelope.time)
        return (
            f"{which} never ended, as that worker was heard of no more, and {following.worker} took the VM over at "
            f"{taken}"
        )
    if job.end is None:
        return f"{which} is under way since {story.clock.at(attempt.started.envelope.time)}"
    at = story.clock.at(job.end.envelope.time)
    match job.outcome:
        case "done":
            return f"{which} succeeded at {at}"
        case "failed":
            error = job.end.envelope.data
            return f"{which} failed at {at}{f': {plain(error.error)}' if isinstance(error, BackupFailed) else ''}"
        case _:
            return f"{which} was stopped at {at}"
