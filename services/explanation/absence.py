"""Why a flow was not due at an instant, or will not be: by the definitions that were in force then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import structs

from bus.envelope import Stored
from schemas.definitions import Flow, Freeze, Schedule
from schemas.ids import ENGINE
from services.explanation.definitions import Change, is_disabled
from services.explanation.sentences import Sentence, sentence, who
from services.explanation.skipping import told_freeze
from services.explanation.story import Story
from services.explanation.words import capital, duration
from services.scheduler import calendar

NEAR = timedelta(minutes=1)  # who asks about a time means the occurrence so near to it
_LOOKED_BACK = (timedelta(days=1), timedelta(days=35), timedelta(days=400))
_GAP = timedelta(hours=3)  # from a time that the clocks jumped over


def nearest(schedule: Schedule, at: datetime) -> calendar.Occurrence | None:
    """Return what a schedule matches nearest to an instant, None when nothing is near."""
    near = calendar.annotated(schedule, at - NEAR, at + NEAR)
    return min(near, key=lambda one: (abs(one.at - at), one.at), default=None)


def absent(story: Story, flow_id: str, at: datetime) -> Iterator[Sentence]:
    """Yield why a flow has no occurrence with an outcome at an instant."""
    definitions = story.survey.definitions
    change = definitions.before("flow", flow_id, at)
    if change is None:
        yield _not_yet(story, flow_id, at)
    elif not isinstance(flow := change.definition, Flow):
        deleted = f"{who(change.entry)} had deleted it at {story.clock.at(change.entry.envelope.time)}"
        yield sentence(f"There was no such flow any more on {story.clock.on(at)}: {deleted}.", change.entry)
    elif not flow.enabled:
        yield from _disabled(story, flow, change, at)
    elif flow.schedule_id is None:
        yield _unscheduled(story, flow, change, at)
    else:
        yield from _on_schedule(story, flow, flow.schedule_id, at)
    for run in story.survey.of_flow(flow_id):
        if run.started is not None and run.is_under_way(at):
            yield sentence(f"{capital(story.named(run))} was under way then.", run.started, run.completed)


def _not_yet(story: Story, flow_id: str, at: datetime) -> Sentence:
    changes = story.survey.definitions.of("flow", flow_id)
    when = story.clock.on(at)
    if not changes:
        return sentence(f"The log knows of no flow on {when}.")
    first = changes[0].entry
    created = f"{who(first)} created it at {story.clock.at(first.envelope.time)}"
    return sentence(f"There was no such flow yet on {when}: {created}.", first)


def _disabled(story: Story, flow: Flow, change: Change, at: datetime) -> Iterator[Sentence]:
    definitions = story.survey.definitions
    since = definitions.since("flow", flow.id, change.entry.sequence, is_disabled) or change
    first = definitions.of("flow", flow.id)[0] is since
    verb = "created it so" if first else "disabled it"
    by = f"{who(since.entry)} had {verb} at {story.clock.at(since.entry.envelope.time)}"
    later = (one for one in definitions.of("flow", flow.id) if one.entry.sequence > change.entry.sequence)
    enabled = next((one for one in later if isinstance(one.definition, Flow) and one.definition.enabled), None)
    again = ""
    if enabled is not None:
        again = f"; {who(enabled.entry)} enabled it again at {story.clock.at(enabled.entry.envelope.time)}"
    is_, had = ("is", by.replace(" had ", " ", 1)) if at > story.now else ("was", by)
    yield sentence(
        f"The flow {is_} disabled on {story.clock.on(at)}: {had}{again}.",
        since.entry,
        enabled.entry if enabled else None,
    )


def _unscheduled(story: Story, flow: Flow, change: Change, at: datetime) -> Sentence:
    def has_none(definition: object) -> bool:
        return isinstance(definition, Flow) and definition.schedule_id is None

    definitions = story.survey.definitions
    since = definitions.since("flow", flow.id, change.entry.sequence, has_none) or change
    before = definitions.at("flow", flow.id, since.entry.sequence - 1)
    when = story.clock.on(at)
    if before is None or not isinstance(before.definition, Flow):
        return sentence(f"The flow had no schedule on {when}: it runs when somebody asks for it.", since.entry)
    name = definitions.name("schedule", before.definition.schedule_id, since.entry.sequence)
    taken = f"{who(since.entry)} had taken it off schedule {name!r} at {story.clock.at(since.entry.envelope.time)}"
    return sentence(f"The flow had no schedule on {when}: {taken}.", since.entry)


def _on_schedule(story: Story, flow: Flow, schedule_id: str, at: datetime) -> Iterator[Sentence]:
    definitions = story.survey.definitions
    change = definitions.before("schedule", schedule_id, at)
    when = story.clock.on(at)
    if change is None or not isinstance(schedule := change.definition, Schedule):
        yield sentence(f"Its schedule did not exist on {when}.", change.entry if change else None)
        return
    if not schedule.enabled:
        since = definitions.since("schedule", schedule_id, change.entry.sequence, is_disabled) or change
        by = f"{who(since.entry)} had disabled it at {story.clock.at(since.entry.envelope.time)}"
        yield sentence(f"Schedule {schedule.name!r} was disabled on {when}: {by}.", since.entry)
        return
    if reason := calendar.unreadable(schedule):
        yield sentence(f"Schedule {schedule.name!r} never fires: {reason}.", change.entry)
        return
    near = nearest(schedule, at)
    if near is None:
        yield from _no_match(story, flow, schedule, at, change.entry)
    elif not near.fires:
        note = str(near.note).removeprefix("excluded: ")
        yield sentence(
            f"Schedule {schedule.name!r} matches on {story.clock.on(near.at)}, but that is excluded: {note}.",
            change.entry,
        )
    elif near.at <= max(flow.armed_at, schedule.armed_at):
        yield _not_armed(story, flow, schedule, near.at)
    else:
        yield from _matched(story, flow, schedule, near.at, change.entry)


def _not_armed(story: Story, flow: Flow, schedule: Schedule, at: datetime) -> Sentence:
    """Tell which change started the calendar anew after an occurrence: what was before it does not count."""
    definitions = story.survey.definitions
    armed_at = max(flow.armed_at, schedule.armed_at)
    kind, id_ = ("flow", flow.id) if flow.armed_at >= schedule.armed_at else ("schedule", schedule.id)
    changes = definitions.of("flow", id_) if kind == "flow" else definitions.of("schedule", id_)
    armed = (one for one in changes if getattr(one.definition, "armed_at", None) == armed_at)
    found = next(armed, None)
    thing = "the flow" if kind == "flow" else f"schedule {schedule.name!r}"
    by = f"{who(found.entry)} {'created' if changes[0] is found else 'changed'} {thing} then" if found else ""
    return sentence(
        f"As it is now, its schedule would have matched on {story.clock.on(at)}, but it is so only since "
        f"{story.clock.at(armed_at)}{f': {by}' if by else ''}; what was before does not count.",
        found.entry if found else None,
    )


def _matched(story: Story, flow: Flow, schedule: Schedule, at: datetime, changed: Stored) -> Iterator[Sentence]:
    """Yield what is known of an occurrence that has no message of its own: it is to come, or nobody said so."""
    fires_at = at + calendar.jitter(schedule, flow.id)
    when = story.clock.on(at)
    later = f", and begins at {story.clock.at(fires_at)} by its jitter" if fires_at != at else ""
    if story.now < fires_at:
        freeze = story.survey.definitions.at("freeze", ENGINE, story.survey.last)
        if freeze is not None and isinstance(frozen := freeze.definition, Freeze) and _in(frozen, at, fires_at):
            told = told_freeze(story, freeze, frozen)
            yield sentence(
                f"It will be due on {when}, and will be skipped: {told.replace(' had ', ' has ', 1)}.",
                changed,
                freeze.entry,
            )
            return
        yield sentence(f"That is still to come: it will be due on {when}{later}.", changed)
        return
    late = duration(story.now - fires_at)
    yield sentence(
        f"It was due on {when}{later}, and {late} after that no scheduler has said so: none runs, or the log has "
        "forgotten it.",
        changed,
    )


def _in(freeze: Freeze, *instants: datetime) -> bool:
    return any(freeze.since <= one < freeze.until for one in instants)


def _no_match(story: Story, flow: Flow, schedule: Schedule, at: datetime, changed: Stored) -> Iterator[Sentence]:
    if (gap := _gap(story, schedule, at)) is not None:
        yield sentence(gap, changed)
    earlier = (calendar.of(schedule).tally(at - back, at, 1).last for back in _LOOKED_BACK)
    before = next((found[-1] for found in earlier if found), None)
    after = calendar.next_occurrence(schedule, at)
    pieces = [f"the one before it is {story.clock.on(before)}"] if before else []
    pieces += [f"the next one is {story.clock.on(after)}"] if after else []
    near = f"; {', '.join(pieces)}" if pieces else "; it matches nowhere near"
    does = "does" if at > story.now else "did"
    yield sentence(f"Schedule {schedule.name!r} {does} not match on {story.clock.on(at)}{near}.", changed)
    last = story.survey.last
    later = story.survey.definitions.flow(flow.id, last)
    now = story.survey.definitions.schedule(later.schedule_id, last) if later else None
    if later is not None and now is not None and (match := nearest(now, at)) is not None and match.fires:
        yield _not_armed(story, later, now, match.at)


def _gap(story: Story, schedule: Schedule, at: datetime) -> str | None:
    """Return what the clocks did to a time of day of a schedule near an instant, None when they did nothing."""
    shifting = structs.replace(schedule, dst_gap="shift")
    near = calendar.annotated(shifting, at - _GAP, at + _GAP)
    shifted = next((one.at for one in near if one.note == "shifted"), None)
    if shifted is None:
        return None
    zone = ZoneInfo(schedule.timezone)
    ends = shifted.astimezone(zone)
    begins = (shifted - timedelta(seconds=1)).astimezone(zone) + timedelta(seconds=1)
    jump = f"On {ends:%Y-%m-%d} the clocks of {schedule.timezone} jumped from {begins:%H:%M} to {ends:%H:%M}"
    if schedule.dst_gap == "skip":
        return f"{jump}, over a time of the schedule, and it leaves such times out (dst_gap 'skip')."
    return f"{jump}, over a time of the schedule, which its dst_gap 'shift' moved to {story.clock.at(shifted)}."


def coming(story: Story, flow_id: str) -> Iterator[Sentence]:
    """Yield when a flow runs next by itself, or why it does not."""
    definitions, last = story.survey.definitions, story.survey.last
    change = definitions.at("flow", flow_id, last)
    if change is None:
        return
    if not isinstance(flow := change.definition, Flow):
        yield sentence(f"Nothing runs it next: it was deleted{story.by(change)}.", change.entry)
        return
    of_schedule = definitions.at("schedule", flow.schedule_id, last)
    schedule = definitions.schedule(flow.schedule_id, last)
    if not flow.enabled:
        since = definitions.since("flow", flow_id, last, is_disabled)
        yield sentence(f"Nothing runs it next: it is disabled{story.by(since)}.", since.entry if since else None)
    elif schedule is None:
        yield sentence("Nothing runs it next: it has no schedule.", change.entry)
    elif not schedule.enabled:
        since = definitions.since("schedule", schedule.id, last, is_disabled)
        told = f"schedule {schedule.name!r} is disabled{story.by(since)}"
        yield sentence(f"Nothing runs it next: {told}.", since.entry if since else None)
    else:
        yield _next(story, flow, schedule, of_schedule.entry if of_schedule else None)


def _next(story: Story, flow: Flow, schedule: Schedule, changed: Stored | None) -> Sentence:
    jitter = calendar.jitter(schedule, flow.id)
    after = max(story.now - jitter, flow.armed_at, schedule.armed_at)
    at = calendar.next_occurrence(schedule, after)
    freeze = story.survey.definitions.at("freeze", ENGINE, story.survey.last)
    frozen = freeze.definition if freeze else None
    told, cause = "", None
    if isinstance(frozen, Freeze) and freeze is not None and at is not None and _in(frozen, at, at + jitter):
        told, cause = f", after the freeze until {story.clock.at(frozen.until)}", freeze.entry
        first = frozen.until - timedelta(microseconds=1)
        at = calendar.next_occurrence(schedule, first if at < frozen.until - jitter else max(at, first - jitter))
    if at is None:
        return sentence("Nothing runs it next: its schedule has no more occurrences.", changed)
    return sentence(f"It runs next on {story.clock.on(at + jitter)}{told}.", changed, cause)
