"""How an execution ended, or what it still waits for: stops, deadlines, what was skipped, and the count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bus.envelope import Stored
from schemas.events import (
    BackupSkipped,
    FlowCancelling,
    FlowCompleted,
    FlowOverdue,
    FlowPlanned,
    FlowStarted,
)
from schemas.labels import canonical, fulfils
from services.explanation.course import Course, Job
from services.explanation.definitions import Change, is_disabled, is_gone
from services.explanation.running import awaited, labels_of
from services.explanation.sentences import Sentence, sentence, who
from services.explanation.story import Story
from services.explanation.survey import Run
from services.explanation.words import NAMED, are, duration, listed, number, plain, together


def stops(story: Story, run: Run, course: Course) -> Iterator[Sentence]:
    """Yield what stopped an execution, or single VMs of it, and what was running then."""
    whole = False
    for entry in run.stops:
        stop = entry.envelope.data
        if not isinstance(stop, FlowCancelling) or (whole and stop.context_id is None):
            continue
        whole = whole or stop.context_id is None
        open_ones = [job for job in course.jobs.values() if job.open_at(entry.sequence)]
        jobs = [job for job in open_ones if stop.context_id in {None, job.context_id}]
        why, causes = _stopped(story, run, stop, entry)
        yield sentence(f"{why}{_then(jobs, entry.sequence)}.", *causes, entry)
    for entry in run.overdue:
        overdue = entry.envelope.data
        if isinstance(overdue, FlowOverdue):
            yield from _overdue(story, course, overdue, entry)


def _stopped(story: Story, run: Run, stop: FlowCancelling, entry: Stored) -> tuple[str, list[Stored | None]]:
    at = story.clock.at(entry.envelope.time)
    if stop.context_id is not None:
        return f"{who(entry)} cancelled the backup of one VM at {at}", []
    match stop.origin:
        case "overlap":
            newer = next((one for one in story.survey.beside(run) if _begins_after(one, entry)), None)
            what = story.named(newer) if newer else "a newer execution"
            return f"It was stopped, by overlap policy cancel_other, to make way for {what}", [
                newer.trigger if newer else None
            ]
        case "timeout":
            late = next((one for one in run.overdue if _deadline_of(one) == "finish"), None)
            end = late.envelope.data.passed_at if late and isinstance(late.envelope.data, FlowOverdue) else None
            by = f" by {story.clock.at(end)}" if end else " in time"
            return f"It had not ended{by}, the end of the time it may take, so it was stopped", [late]
        case "deleted":
            change = story.survey.definitions.since("flow", run.flow_id, entry.sequence, is_gone)
            deleted = f"{who(change.entry)} deleted the flow" if change else "The flow was deleted"
            return f"{deleted} while it ran, so it was stopped at {at}", [change.entry if change else None]
        case "asked":
            cancel = story.survey.backfills_cancelled.get(run.backfill_id or "")
            if entry.envelope.actor is None and cancel is not None:
                return f"{who(cancel)} cancelled its backfill at {at}", [cancel]
            return f"{who(entry)} cancelled it at {at}", []


def _begins_after(one: Run, stop: Stored) -> bool:
    return one.trigger is not None and (one.outcome is None or one.outcome.sequence > stop.sequence)


def _deadline_of(entry: Stored) -> str:
    return entry.envelope.data.deadline if isinstance(entry.envelope.data, FlowOverdue) else ""


def _then(jobs: Sequence[Job], sequence: int) -> str:
    """Return what was running when something was stopped, and what had not begun."""
    running = [job for job in jobs if job.runs_at(sequence)]
    idle = [job for job in jobs if job not in running]
    pieces: list[str] = []
    if running:
        names = [f"{job.name} (on {job.attempts[-1].worker})" for job in running]
        pieces.append(f"{listed(names)} {are(names, 'was', 'were')} running")
    if idle:
        names = [job.name for job in idle]
        pieces.append(f"{listed(names)} had not begun")
    return f"; {', and '.join(pieces)}" if pieces else ""


def _overdue(story: Story, course: Course, overdue: FlowOverdue, entry: Stored) -> Iterator[Sentence]:
    at = story.clock.at(overdue.passed_at)
    jobs = [job for job in course.jobs.values() if job.open_at(entry.sequence)]
    match overdue.deadline:
        case "start":
            idle = [job.name for job in jobs if not job.runs_at(entry.sequence)]
            if idle:
                they = are(idle, "which had not begun, was", "which had not begun, were")
                yield sentence(f"Its start deadline passed at {at}: {listed(idle)}, {they} skipped.", entry)
        case "stop":
            silent = [job for job in jobs if job.runs_at(entry.sequence)]
            silent = [job for job in silent if overdue.context_id in {None, job.context_id}]
            if silent:
                names = sorted({job.attempts[-1].worker for job in silent})
                yield sentence(
                    f"{listed(names)} did not respond to that by {at}, so {listed([job.name for job in silent])} "
                    f"{are(silent, 'was', 'were')} no longer waited for; the worker may still be at work.",
                    entry,
                )
        case "finish":
            pass  # told with the stop that follows


def left(story: Story, run: Run, course: Course) -> Iterator[Sentence]:
    """Yield which VMs were skipped, for other reasons than a stop or a deadline."""
    by_reason: dict[str, list[Job]] = {}
    for job in course.jobs.values():
        skip = job.end.envelope.data if job.end else None
        if isinstance(skip, BackupSkipped) and job.end is not None and not _is_stopped(run, job.end):
            by_reason.setdefault(skip.reason, []).append(job)
    for reason, jobs in by_reason.items():
        names = [job.name for job in jobs]
        end = jobs[0].end
        change = _meanwhile(story, run, jobs[0]) if len(jobs) == 1 or "repository" in reason else None
        yield sentence(
            f"{listed(names)} {are(names, 'was', 'were')} skipped: {plain(reason)}{story.by(change)}.",
            change.entry if change else None,
            end,
        )


def _is_stopped(run: Run, end: Stored) -> bool:
    skip = end.envelope.data
    about = getattr(skip, "context_id", None)
    for entry in run.stops:
        if entry.sequence < end.sequence and getattr(entry.envelope.data, "context_id", None) in {None, about}:
            return True
    return any(one.sequence < end.sequence and _deadline_of(one) == "start" for one in run.overdue)


def _meanwhile(story: Story, run: Run, job: Job) -> Change | None:
    """Return the change of a definition that had a VM skipped."""
    if job.end is None or run.terms is None:
        return None
    for holds in (is_gone, is_disabled):
        for sort, id_ in (("vm", job.context_id), ("repository", run.terms.repository_id)):
            change = story.survey.definitions.since(
                "vm" if sort == "vm" else "repository", id_, job.end.sequence, holds
            )
            if change is not None:
                return change
    return None


def ended(story: Story, run: Run, course: Course) -> Iterator[Sentence]:
    """Yield how an execution ended: its status, how long it took, and what became of its VMs."""
    entry = run.completed
    if entry is None or run.started is None or not isinstance(end := entry.envelope.data, FlowCompleted):
        return
    took = duration(end.completed_at - end.started_at)
    at = story.clock.at(entry.envelope.time)
    if end.jobs_created == 0:
        why = _nothing(run, end)
        yield sentence(f"It ended at once as {end.status}{f': {why}' if why else ''}.", entry)
        return
    yield sentence(f"It ended at {at}, after {took}, as {end.status}: {_count(end, course)}.", entry)


def _nothing(run: Run, end: FlowCompleted) -> str:
    """Return why there was nothing to back up."""
    plans = (part.envelope.data for part in run.parts.values())
    left_out = sum(len(plan.excluded) for plan in plans if isinstance(plan, FlowPlanned))
    if left_out:
        return "its only VM was left out" if left_out == 1 else f"{together(left_out, 'VM')} were left out"
    return plain(end.error_message or "").removeprefix("nothing to back up: ")


def _count(end: FlowCompleted, course: Course) -> str:
    """Return what became of the VMs of an execution."""
    outcomes = [job.outcome for job in course.jobs.values()]
    cancelled, never = outcomes.count("cancelled"), outcomes.count("skipped")
    if cancelled + never != end.jobs_skipped:  # not all is known
        cancelled, never = 0, end.jobs_skipped
    parts = [
        (end.jobs_completed, "succeeded", "were backed up"),
        (end.jobs_failed, "failed", "failed"),
        (cancelled, "stopped while running", "were stopped while running"),
        (never, "never began", "never began"),
    ]
    told = [(amount, of_some, of_all) for amount, of_some, of_all in parts if amount]
    if len(told) == 1:
        of_all = told[0][2]
        if end.jobs_created == 1:
            return f"its VM {of_all.replace('were', 'was')}"
        return f"{together(end.jobs_created, 'VM')} {of_all}"
    return f"of {number(end.jobs_created, 'VM')}, {listed([_some(amount, what) for amount, what, _ in told])}"


def _some(amount: int, what: str) -> str:
    verb = ("was " if amount == 1 else "were ") if what.startswith("stopped") else ""
    return f"{amount:,} {verb}{what}"


def under_way(story: Story, run: Run, course: Course) -> Iterator[Sentence]:
    """Yield what an execution that has not ended still does, and waits for."""
    started, terms = run.started, run.terms
    if run.completed is not None or started is None or terms is None:
        return
    open_ones = [job for job in course.jobs.values() if job.end is None]
    done = f"{len(course.jobs) - len(open_ones):,} of {number(len(course.jobs), 'VM')}"
    since = duration(story.now - started.envelope.time)
    yield sentence(f"It is still under way, after {since}, with {done} done.", started)
    begun = [job for job in open_ones if job.attempts]
    if running := [job for job in begun if not _pauses(job)]:
        names = [f"{job.name} (on {job.attempts[-1].worker})" for job in running]
        first = f"{'' if len(running) == 1 else 'the first '}since {story.clock.at(_newest(running[0]).envelope.time)}"
        told = f"{listed(names)} {are(names, 'is', 'are')} running, {first}."
        yield sentence(told, *(_newest(job) for job in running[:NAMED]))
    if pausing := [job for job in begun if _pauses(job)]:
        names = [job.name for job in pausing]
        told = f"{listed(names)} {are(names, 'waits', 'wait')} for the next attempt."
        yield sentence(told, *(job.attempts[-1].failed for job in pausing[:NAMED]))
    if requested := [job for job in open_ones if not job.attempts and job.requests]:
        yield from _for_worker(story, requested)
    yield from _idle(story, terms, started, course, [job for job in open_ones if not job.requests])


def _for_worker(story: Story, requested: Sequence[Job]) -> Iterator[Sentence]:
    """Yield which backups wait for a worker: for any, or for one with labels, and whether there is such a one."""
    by_labels: dict[str, list[Job]] = {}
    for job in requested:
        by_labels.setdefault(canonical(labels_of(job.requests[-1])), []).append(job)
    for labels, jobs in by_labels.items():
        names, first = [job.name for job in jobs], jobs[0].requests[-1]
        has = are(names, "has a slot and waits", "have slots and wait")
        which = f" with {labels}" if labels else ""
        told = f"{listed(names)} {has} for a worker{which}, since {story.clock.at(first.envelope.time)}"
        able = story.workers is None or any(fulfils(one, labels_of(jobs[0].requests[-1])) for one in story.workers)
        lacking = "" if able else f": there is no worker for {labels}" if labels else ": none is there"
        yield sentence(f"{told}{lacking}.", first)


def _newest(job: Job) -> Stored:
    return job.attempts[-1].started


def _pauses(job: Job) -> bool:
    return job.attempts[-1].failed is not None


def _idle(story: Story, terms: FlowStarted, started: Stored, course: Course, idle: Sequence[Job]) -> Iterator[Sentence]:
    """Yield what the backups without a slot wait for."""
    by_what: dict[str, list[Job]] = {}
    causes: dict[str, Stored] = {}
    for job in idle:
        wait = course.admission.waits_for(job.context_id)
        nothing = "the executor to request it" if story.others else "a slot, or for its VM: others may have them"
        what = awaited(story, terms, wait) if wait else nothing
        by_what.setdefault(what, []).append(job)
        causes.setdefault(what, wait.holder.requested if wait and wait.holder else started)
    for what, jobs in by_what.items():
        names = [job.name for job in jobs]
        yield sentence(f"{listed(names)} {are(names, 'waits', 'wait')} for {what}.", causes[what])
