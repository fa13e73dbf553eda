"""Why a trigger became no execution: skipped, with the change or the execution that stood in the way, or missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from bus.envelope import Stored
from schemas.definitions import Flow, Freeze
from schemas.events import FlowCancelling, FlowDue, FlowMissed, FlowOverdue, FlowSkipped
from schemas.ids import ENGINE
from services.explanation.beginning import ahead_of
from services.explanation.definitions import Change, Content, Sort, is_disabled, is_gone
from services.explanation.sentences import Sentence, sentence, who
from services.explanation.story import Story
from services.explanation.survey import Run
from services.explanation.words import duration, number, plain

Reason = tuple[str, list[Stored | None]]  # what is told, and what it rests on


def skipped(story: Story, run: Run) -> Iterator[Sentence]:
    """Yield why a trigger was skipped."""
    entry = run.skipped
    if entry is None or not isinstance(skip := entry.envelope.data, FlowSkipped):
        return
    why, causes = _reason(story, run, skip, entry)
    yield sentence(f"It was skipped at {story.clock.at(entry.envelope.time)}: {why}.", *causes, entry)


def _reason(story: Story, run: Run, skip: FlowSkipped, entry: Stored) -> Reason:
    match skip.reason:
        case "overlap":
            return _overlap(story, run, skip, entry)
        case "definition_changed":
            return _outdated(story, run)
        case "start_deadline":
            return _deadline(story, run, skip, entry)
        case "frozen":
            return _frozen(story, skip, entry)
        case "cancelled":
            stop = next((one for one in run.stops if _is_of_all(one)), None)
            if stop is None:
                return plain(skip.message), []
            return f"{who(stop)} cancelled it at {story.clock.at(stop.envelope.time)}, while it still waited", [stop]
        case "backfill_cancelled":
            cancel = story.survey.backfills_cancelled.get(run.backfill_id or "")
            if cancel is None:
                return "its backfill was cancelled", []
            return f"{who(cancel)} cancelled its backfill at {story.clock.at(cancel.envelope.time)}", [cancel]
        case "unsupported":
            return plain(skip.message), []
        case _:
            return _definition(story, run, skip, entry)


def _is_of_all(stop: Stored) -> bool:
    """Tell whether a stop is of a whole execution."""
    return isinstance(stop.envelope.data, FlowCancelling) and stop.envelope.data.context_id is None


def _overlap(story: Story, run: Run, skip: FlowSkipped, entry: Stored) -> Reason:
    if "a newer one takes its place" in skip.message:
        newer = next((one for one in story.survey.beside(run) if _newer(one, run)), None)
        what = f"a newer trigger took its place, {story.named(newer)}" if newer else "a newer trigger took its place"
        return f"{what}, by overlap policy cancel_other", [newer.first if newer else None]
    running = [
        one for one in ahead_of(story, run, entry.sequence) if one.open_between(entry.sequence - 1, entry.sequence)
    ]
    flow = story.survey.definitions.flow(run.flow_id, entry.sequence)
    rule = f"overlap policy {flow.overlap_policy}" if flow else "overlap policy"
    if not running:
        return plain(skip.message), []
    first = running[0]
    assert first.started is not None
    began = story.clock.at(first.started.envelope.time)
    waiting = [one for one in story.survey.beside(run) if _waits_at(one, entry.sequence) and not _newer(one, run)]
    full = f", and {number(len(waiting), 'other')} already waited for it" if waiting else ""
    return (
        f"{story.named(first)}, which had begun at {began}, was still running{full} ({rule})",
        [first.started, *(one.trigger for one in waiting[:3])],
    )


def _newer(one: Run, run: Run) -> bool:
    return one.trigger is not None and run.trigger is not None and one.trigger.sequence > run.trigger.sequence


def _waits_at(run: Run, sequence: int) -> bool:
    asked = run.trigger is not None and run.trigger.sequence < sequence
    return asked and (run.outcome is None or run.outcome.sequence > sequence)


def _outdated(story: Story, run: Run) -> Reason:
    """Tell which change came before the scheduler's decision, that it had not seen."""
    definitions, trigger = story.survey.definitions, run.trigger
    due = trigger.envelope.data if trigger else None
    if trigger is None or not isinstance(due, FlowDue):
        return "its schedule had been changed, or the flow disabled, before the scheduler said that it is due", []
    on = trigger.envelope.decidedon or ""
    decidedon = int(on) if on.isascii() and on.isdecimal() else 0
    changes = [*definitions.of("flow", run.flow_id), *definitions.of("schedule", due.schedule_id)]
    change = next((one for one in changes if decidedon < one.entry.sequence < trigger.sequence), None)
    if change is None:
        return "its schedule had been changed, or the flow disabled, before the scheduler said that it is due", []
    what = _what_changed(story, change, run.flow_id)
    return f"the scheduler had not yet seen that {what}, so it was not due after all", [change.entry]


def _what_changed(story: Story, change: Change, flow_id: str) -> str:
    at, by = story.clock.at(change.entry.envelope.time), who(change.entry)
    is_flow = change.entry.envelope.subject == flow_id
    name = story.survey.definitions.name("schedule", change.entry.envelope.subject, change.entry.sequence)
    thing = "the flow" if is_flow else f"schedule {name!r}"
    verb = "deleted" if change.definition is None else "disabled" if is_disabled(change.definition) else "changed"
    return f"{by} had {verb} {thing} at {at}"


def _deadline(story: Story, run: Run, skip: FlowSkipped, entry: Stored) -> Reason:
    late = next((one for one in run.overdue if _is_start(one)), None)
    running = [
        one for one in ahead_of(story, run, entry.sequence) if one.open_between(entry.sequence - 1, entry.sequence)
    ]
    if late is None or not isinstance(overdue := late.envelope.data, FlowOverdue):
        return plain(skip.message), []
    passed = story.clock.at(overdue.passed_at)
    if not running:
        return f"it had not begun when its start deadline passed at {passed}", [late]
    what = f"it still waited for {story.named(running[0])} when its start deadline passed at {passed}"
    return what, [running[0].started, late]


def _is_start(entry: Stored) -> bool:
    return isinstance(entry.envelope.data, FlowOverdue) and entry.envelope.data.deadline == "start"


def _frozen(story: Story, skip: FlowSkipped, entry: Stored) -> Reason:
    change = story.survey.definitions.since(
        "freeze", ENGINE, entry.sequence, lambda definition: isinstance(definition, Freeze)
    )
    latest = story.survey.definitions.at("freeze", ENGINE, entry.sequence)
    change = latest if latest is not None and latest.definition is not None else change
    if change is None or not isinstance(freeze := change.definition, Freeze):
        return f"scheduled starts were frozen ({plain(skip.message)})", []
    return told_freeze(story, change, freeze), [change.entry]


def told_freeze(story: Story, change: Change, freeze: Freeze) -> str:
    """Return who set a freeze, when, until when and why."""
    why = f", for this reason: {plain(freeze.reason)}" if freeze.reason else ""
    at, until = story.clock.at(change.entry.envelope.time), story.clock.at(freeze.until)
    return f"{who(change.entry)} had frozen all scheduled starts at {at}, until {until}{why}"


def _definition(story: Story, run: Run, skip: FlowSkipped, entry: Stored) -> Reason:
    """Tell which definition was disabled or deleted, by whom and when."""
    definitions, sequence = story.survey.definitions, entry.sequence
    flow = _last_flow(story, run, sequence)
    ids: dict[str, tuple[Sort, str | None]] = {
        "flow": ("flow", run.flow_id),
        "target": ((flow.target_type, flow.target_id) if flow else ("vm", None)),
        "repository": ("repository", flow.repository_id if flow else None),
        "policy": ("policy", flow.policy_id if flow else None),
    }
    what, _, state = skip.reason.partition("_")
    sort, id_ = ids[what]
    holds: Callable[[Content | None], bool] = is_gone if state == "deleted" else is_disabled
    change = definitions.since(sort, id_, sequence, holds) if id_ else None
    if change is None:
        return plain(skip.message), []
    name = definitions.name(sort, id_, sequence)
    verb = "deleted" if change.definition is None else "disabled"
    kind = "VM" if sort == "vm" else sort
    at = story.clock.at(change.entry.envelope.time)
    return f"{kind} {name!r} was {verb}, by {who(change.entry)} at {at}", [change.entry]


def _last_flow(story: Story, run: Run, sequence: int) -> Flow | None:
    """Return a flow as it is at a sequence, or was before it was deleted."""
    known = [one for one in story.survey.definitions.of("flow", run.flow_id) if one.entry.sequence <= sequence]
    return next((one.definition for one in reversed(known) if isinstance(one.definition, Flow)), None)


def missed(story: Story, entry: Stored) -> Iterator[Sentence]:
    """Yield why occurrences were not executed."""
    if not isinstance(event := entry.envelope.data, FlowMissed):
        return
    schedule = story.survey.definitions.schedule(event.schedule_id, entry.sequence)
    found = story.clock.at(entry.envelope.time)
    if event.count == 1:
        told = f"It was due on {story.clock.on(event.first)}, but no scheduler said so then"
    else:
        told = (
            f"{number(event.count, 'occurrence')}, from {story.clock.on(event.first)} to "
            f"{story.clock.on(event.last)}, passed while no scheduler said so"
        )
    late = f"{'' if event.count == 1 else 'the last of them '}{duration(entry.envelope.time - event.last)} late"
    rule = ""
    if schedule is not None:
        window = (
            f" within {duration(timedelta(seconds=schedule.catch_up_window_seconds))}"
            if schedule.catch_up != "none"
            else ""
        )
        rule = f": catch-up {schedule.catch_up!r} of schedule {schedule.name!r}{window}"
    them = "it" if event.count == 1 else "them"
    yield sentence(f"{told}. One noticed {them} at {found}, {late}, and did not catch up on {them}{rule}.", entry)
