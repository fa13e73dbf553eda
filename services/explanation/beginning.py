"""How an execution came about: due, late, asked for or backfilled, what it waited for, and with which VMs it began."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import cast

from bus.envelope import Stored
from schemas.commands import BackupVm, ExecuteFlow, RetryExecution
from schemas.definitions import Flow, Group, Schedule
from schemas.events import ExcludedVm, FlowBackfilling, FlowDue, FlowPlanned, FlowStarted
from services.explanation.definitions import Change, is_disabled
from services.explanation.sentences import Sentence, sentence, who
from services.explanation.story import Story, is_ad_hoc, schedule_of
from services.explanation.survey import Run
from services.explanation.words import are, capital, duration, listed, number, plain
from services.scheduler import calendar
from services.scheduler.backlog import ON_TIME

NOTICED = timedelta(seconds=1)  # a shorter wait is none

# what the plan says of a VM that it leaves out, and of several
_OF_SEVERAL = {
    "the VM does not exist": "these VMs do not exist",
    "it succeeded in the execution that is retried": "they succeeded in the execution that is retried",
    "disabled in its group": "disabled in their group",
    "the VM is disabled": "these VMs are disabled",
}


def triggered(story: Story, run: Run) -> Iterator[Sentence]:
    """Yield why there was anything to begin."""
    trigger = run.trigger
    match trigger.envelope.data if trigger else None:
        case FlowDue() as due if trigger is not None:
            yield _due(story, run, trigger, due)
        case FlowBackfilling() as backfill if trigger is not None and run.occurrence is not None:
            yield sentence(
                f"{who(trigger)} asked at {story.clock.at(trigger.envelope.time)} for a backfill of "
                f"{number(len(backfill.occurrences), 'past occurrence')}; this is the one of "
                f"{story.clock.on(run.occurrence)}.",
                trigger,
            )
        case ExecuteFlow() | RetryExecution() | BackupVm() as command if trigger is not None:
            yield sentence(
                f"{who(trigger)} asked on {story.clock.on(trigger.envelope.time)} for {_asked(story, command)}.",
                trigger,
            )
        case _ if run.occurrence is not None:
            yield sentence(f"It was for the occurrence of {story.clock.on(run.occurrence)}.", run.outcome)
        case _ if run.outcome is not None:
            yield sentence(f"{who(run.outcome)} asked for it.", run.outcome)
        case _:
            pass


def _asked(story: Story, command: ExecuteFlow | RetryExecution | BackupVm) -> str:
    match command:
        case ExecuteFlow():
            return "a run of it"
        case RetryExecution():
            retried = story.survey.runs.get(command.id)
            of = story.named(retried) if retried is not None and retried.known else "an earlier execution"
            return f"a retry of what had not succeeded in {of}"
        case BackupVm():
            return f"a backup of VM {story.vm_name(command.context_id)!r} alone, outside any flow"


def _due(story: Story, run: Run, trigger: Stored, due: FlowDue) -> Sentence:
    """Tell when an occurrence was due, and when a scheduler said so."""
    definitions = story.survey.definitions
    schedule = definitions.schedule(due.schedule_id, trigger.sequence)
    jitter = calendar.jitter(schedule, run.flow_id) if schedule else timedelta()
    at = story.clock.on(due.occurrence)
    told = f"It was due on {at}"
    if jitter:
        told += f", {duration(jitter)} later by the jitter of its schedule"
    late = trigger.envelope.time - due.occurrence - jitter
    if late <= ON_TIME:
        return sentence(f"{told}, and the scheduler said so on time.", trigger)
    noticed = story.clock.at(trigger.envelope.time)
    enabled = _enabled_since(story, run, trigger, due)
    if enabled is not None:
        return sentence(
            f"{told}, while the flow was disabled; {who(enabled.entry)} enabled it at "
            f"{story.clock.at(enabled.entry.envelope.time)} with what it had missed, so it was caught up "
            f"{duration(late)} late.",
            enabled.entry,
            trigger,
        )
    kind = f" (catch-up {schedule.catch_up!r})" if schedule else ""
    return sentence(
        f"{told}, but no scheduler said so until {noticed}, {duration(late)} late; then it was caught up on{kind}.",
        trigger,
    )


def _enabled_since(story: Story, run: Run, trigger: Stored, due: FlowDue) -> Change | None:
    """Return the change that enabled a flow after an occurrence, and let it be due nevertheless."""

    def is_on(definition: object) -> bool:
        return isinstance(definition, Flow) and definition.enabled

    found = story.survey.definitions.since("flow", run.flow_id, trigger.sequence, is_on)
    if found is None or found.entry.envelope.time < due.occurrence:
        return None
    before = story.survey.definitions.at("flow", run.flow_id, found.entry.sequence - 1)
    return found if before is not None and is_disabled(before.definition) else None


def waited(story: Story, run: Run) -> Iterator[Sentence]:
    """Yield what it waited for between its trigger and its beginning."""
    if run.started is None or run.trigger is None or run.terms is None:
        return
    waited = run.started.envelope.time - run.trigger.envelope.time
    ahead = [one for one in ahead_of(story, run, run.started.sequence) if one.completed is not None]
    if waited < NOTICED and not ahead:
        return
    if not ahead:
        yield sentence(
            f"It waited {duration(waited)}: no executor took it up before {story.clock.at(run.started.envelope.time)}.",
            run.trigger,
            run.started,
        )
        return
    last = max(ahead, key=lambda one: one.completed.sequence if one.completed else 0)
    assert last.completed is not None
    assert last.started is not None
    ended = story.clock.at(last.completed.envelope.time)
    more = f" (it was the last of {len(ahead)} before it)" if len(ahead) > 1 else ""
    stopped = next((stop for stop in last.stops if stop.sequence > run.trigger.sequence), None)
    if run.backfill_id is not None:
        told = f"It waited {duration(waited)} for its turn in the backfill: {story.named(last)} ended at {ended}{more}."
    elif run.terms.overlap_policy == "cancel_other" and stopped is not None:
        told = (
            f"{capital(story.named(last))} was running and was stopped for it, by overlap policy cancel_other; that "
            f"one ended at {ended}, {duration(waited)} after this one was asked for{more}."
        )
    else:
        told = (
            f"It waited {duration(waited)} for {story.named(last)} to end (overlap policy "
            f"{run.terms.overlap_policy}): that one had begun at {story.clock.at(last.started.envelope.time)} and "
            f"ended at {ended}{more}."
        )
    yield sentence(told, last.started, stopped, last.completed)


def ahead_of(story: Story, run: Run, until: int) -> list[Run]:
    """Return the executions that ran, of the same flow or backfill, between a run's trigger and a sequence."""
    if run.trigger is None or is_ad_hoc(run) or (run.terms is not None and run.terms.overlap_policy == "allow"):
        return []
    first = run.trigger.sequence
    found: list[Run] = []
    for one in story.survey.beside(run):
        ended_before = one.completed is None or one.completed.sequence < until
        if one.open_between(first, until) and (run.started is None or ended_before):
            found.append(one)
    return found


def began(story: Story, run: Run, *, at_once: bool) -> Iterator[Sentence]:
    """Yield with which VMs an execution began, and which it left out. `at_once`: each of them got its slot then."""
    started, terms = run.started, run.terms
    if started is None or terms is None:
        return
    told = f"It began at {story.clock.at(started.envelope.time)}"
    if not terms.jobs:
        yield sentence(f"{told}, and found nothing to back up.", started)
    else:
        they = (
            "which got its slot" if terms.jobs == 1 else f"which {'both' if terms.jobs == 2 else 'all'} got their slots"
        )
        yield sentence(f"{told} with {number(terms.jobs, 'VM')}{f', {they} at once' if at_once else ''}.", started)
    for entry in run.parts.values():
        if isinstance(plan := entry.envelope.data, FlowPlanned) and plan.excluded:
            yield from _left_out(story, terms, plan.excluded, entry)


def _left_out(story: Story, terms: FlowStarted, excluded: list[ExcludedVm], entry: Stored) -> Iterator[Sentence]:
    by_reason: dict[str, list[ExcludedVm]] = {}
    for one in excluded:
        by_reason.setdefault(one.reason, []).append(one)
    for reason, vms in by_reason.items():
        names = [story.vm_name(one.context_id) for one in vms]
        why = plain(reason if len(vms) == 1 else _OF_SEVERAL.get(reason, reason))
        change = _excluding(story, terms, vms[0].context_id, reason, entry.sequence) if len(vms) == 1 else None
        yield sentence(
            f"{listed(names)} {are(names, 'was', 'were')} left out: {why}{story.by(change)}.",
            entry,
            change.entry if change else None,
        )


def _excluding(story: Story, terms: FlowStarted, context_id: str, reason: str, sequence: int) -> Change | None:
    """Return the change that had a VM left out, None when it is not known."""
    definitions = story.survey.definitions
    if reason == "the VM is disabled":
        return definitions.since("vm", context_id, sequence, is_disabled)
    if reason == "the VM does not exist":
        return definitions.since("vm", context_id, sequence, lambda one: one is None)

    def is_off(definition: object) -> bool:
        members = definition.members if isinstance(definition, Group) else []
        return any(member.context_id == context_id and not member.enabled for member in members)

    flow = definitions.flow(terms.flow_id, sequence)
    if reason == "disabled in its group" and flow is not None:
        return definitions.since("group", flow.target_id, sequence, is_off)
    return None


def waiting(story: Story, run: Run) -> Iterator[Sentence]:
    """Yield what a trigger without an outcome waits for."""
    trigger = run.trigger
    if trigger is None:
        return
    running = [one for one in ahead_of(story, run, story.survey.last + 1) if one.completed is None]
    since = duration(story.now - trigger.envelope.time)
    if not running:
        yield sentence(f"It has waited {since} for an executor to take it up.", trigger)
        return
    ahead = running[0]
    began_at = story.clock.at(cast("Stored", ahead.started).envelope.time)
    flow = story.survey.definitions.flow(run.flow_id, story.survey.last)
    rule = f" (overlap policy {flow.overlap_policy})" if flow and run.backfill_id is None else ""
    what = f"{story.named(ahead)}, which has run since {began_at}, to end{rule}"
    yield sentence(f"It has waited {since}, and still waits, for {what}.", trigger, ahead.started)


def described(story: Story, flow_id: str, sequence: int) -> Iterator[Sentence]:
    """Yield what a flow was, and on which schedule, at a sequence."""
    definitions = story.survey.definitions
    change = definitions.at("flow", flow_id, sequence)
    flow = definitions.flow(flow_id, sequence)
    if change is None or flow is None:
        return
    last = story.survey.last
    now = _on(definitions.flow(flow_id, last), definitions.schedule(flow.schedule_id, last))
    schedule = schedule_of(story.survey, flow, sequence)
    then = _on(flow, schedule)
    past = then != now
    if schedule is None:
        text = "had no schedule then" if past else "has no schedule: it runs when somebody asks for it"
    else:
        text = f"{'was then' if past else 'is'} on {then}"
    of_schedule = definitions.at("schedule", schedule.id, sequence) if schedule else None
    yield sentence(f"Flow {flow.name!r} {text}.", change.entry, of_schedule.entry if of_schedule else None)


def _on(flow: Flow | None, schedule: Schedule | None) -> str:
    """Return which schedule a flow is on, and what it says."""
    if flow is None or schedule is None or flow.schedule_id != schedule.id:
        return ""
    cron = ", ".join([schedule.cron_expression, *schedule.more_expressions])
    later = f", jitter up to {duration(timedelta(seconds=schedule.jitter_seconds))}" if schedule.jitter_seconds else ""
    return f"schedule {schedule.name!r} ({cron} in {schedule.timezone}{later})"
