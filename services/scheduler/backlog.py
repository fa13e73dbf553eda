"""The backlog of a flow: its occurrences without an outcome on the log, and which of them are caught up. Pure.

After a long downtime there may be half a million of them. They are counted, by days; only the last are looked at one by
one, as only those can be due (docs/time.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice

from schemas.base import Value
from schemas.definitions import Schedule
from schemas.events import FlowDue, FlowMissed
from services.scheduler import calendar

ON_TIME = timedelta(seconds=60)  # an occurrence later than this was not fired by a scheduler that was there
CATCH_UP_LIMIT = 100  # occurrences of one flow that `catch_up: all` runs after one downtime
LAST = (
    2 * CATCH_UP_LIMIT
)  # occurrences that are looked at one by one, and a schedule's inclusions: more than can be due
ENUMERATED = 10_000  # occurrences of several calendars at the same time that are looked at for one event


class Stretch(Value, frozen=True, kw_only=True):
    """A stretch of time, after `after` and up to `until`, over which a flow with this jitter is on a schedule."""

    schedule: Schedule
    after: datetime
    until: datetime
    jitter: timedelta


class Known(Value, frozen=True, kw_only=True):
    """Which occurrences in the backlog have an outcome nevertheless: `skipped` ones, and all that `has_outcome` tells.

    Those that only `has_outcome` tells come first.
    """

    skipped: Collection[datetime]
    has_outcome: Callable[[datetime], bool]


class _Occurrence(Value, frozen=True, kw_only=True):
    """An occurrence without an outcome on the log, and how late it is."""

    at: datetime
    late: timedelta
    schedule: Schedule


class _Backlog:
    """Occurrences without an outcome, in order: the last of them, and how many there are in all."""

    def __init__(self) -> None:
        self.count = 0
        self.first: datetime | None = None
        self.last: list[_Occurrence] = []
        self._before: _Occurrence | None = None  # the one before the last ones

    def pass_over(self, number: int, first: datetime, before: _Occurrence) -> None:
        """Count what is too long ago to be due, and with it all that was added before."""
        self.count += number
        self.first, self.last, self._before = self.first or first, [], before

    def add(self, occurrence: _Occurrence) -> None:
        self.count += 1
        self.first = self.first or occurrence.at
        self.last.append(occurrence)

    def missed(self, of_the_last: Sequence[_Occurrence], flow_id: str) -> FlowMissed | None:
        """Return the outcome of all but the last, and of those that come first of the last."""
        end = of_the_last[-1] if of_the_last else self._before
        if self.first is None or end is None:
            return None
        return FlowMissed(
            flow_id=flow_id,
            schedule_id=end.schedule.id,
            first=self.first,
            last=end.at,
            count=self.count - len(self.last) + len(of_the_last),
        )


def outcomes(flow_id: str, stretches: Iterable[Stretch], now: datetime, known: Known) -> Sequence[FlowDue | FlowMissed]:
    """Return the outcomes, at `now`, of a flow's occurrences that have none.

    Of calendars that overlap, and have very many, only those that come first; the others follow when these are on the
    log.
    """
    backlog = _Backlog()
    for overlapping in _overlapping(stretches):
        if not _take(backlog, overlapping, now, known):
            break
    missed, due = _catch_up(backlog.last)
    event = backlog.missed(missed, flow_id)
    fired = [FlowDue(flow_id=flow_id, occurrence=one.at, schedule_id=one.schedule.id) for one in due]
    return fired if event is None else [event, *fired]


def _overlapping(stretches: Iterable[Stretch]) -> Iterator[list[Stretch]]:
    """Yield the stretches in order, those that overlap together."""
    together: list[Stretch] = []
    end: datetime | None = None
    for one in sorted(stretches, key=lambda one: one.after):
        if end is not None and one.after >= end:
            yield together
            together, end = [], None
        together.append(one)
        end = one.until if end is None else max(end, one.until)
    if together:
        yield together


def _take(backlog: _Backlog, stretches: Sequence[Stretch], now: datetime, known: Known) -> bool:
    """Add the occurrences of stretches that overlap; tell whether these are all."""
    after, until = min(one.after for one in stretches), max(one.until for one in stretches)
    calendars = list({id(one): one for one in (calendar.of(stretch.schedule) for stretch in stretches)}.values())
    inclusions = sum(len(one.schedule.inclusions) for one in stretches)

    def occurrence(at: datetime) -> _Occurrence:
        stretch = next(one for one in stretches if one.after < at <= one.until)
        return _Occurrence(at=at, late=now - at - stretch.jitter, schedule=stretch.schedule)

    if len(calendars) > 1:
        several = merge(*(calendar.occurrences(one.schedule, one.after, one.until) for one in stretches))
        found = list(islice(_each_once(several), ENUMERATED))
        older = len(found) - LAST - inclusions if len(found) == ENUMERATED else 0
        if older > 0:
            backlog.pass_over(
                sum(not known.has_outcome(at) for at in found[:older]), found[0], occurrence(found[older - 1])
            )
            return False
    else:
        after = _open_after(calendars[0], after, until, known)
        tally = calendars[0].tally(after, until, LAST + inclusions + 1)
        found = tally.last
        if tally.first is not None and tally.count > len(found):
            skipped = sum(after < at <= found[0] and calendars[0].fires(at) for at in known.skipped)
            backlog.pass_over(tally.count - len(found) + 1 - skipped, tally.first, occurrence(found[0]))
            found = found[1:]
    for at in found:
        if not known.has_outcome(at):
            backlog.add(occurrence(at))
    return True


def _open_after(times: calendar.Calendar, after: datetime, until: datetime, known: Known) -> datetime:
    """Return the instant after which the first occurrence without an outcome comes."""
    while (at := times.next(after).at) is not None and at <= until and known.has_outcome(at):
        after = at
    return after


def _each_once(instants: Iterable[datetime]) -> Iterator[datetime]:
    last = None
    for at in instants:
        if at != last:
            yield at
        last = at


def _catch_up(occurrences: list[_Occurrence]) -> tuple[list[_Occurrence], list[_Occurrence]]:
    """Split occurrences, in order, into those that are missed and those that are due (docs/time.md).

    An occurrence that is on time is due. Of the late ones within the window `catch_up` runs none, the last, or all up
    to a limit; the last only when nothing on time follows it.
    """
    on_time = [one for one in occurrences if one.late <= ON_TIME]
    late = occurrences[: len(occurrences) - len(on_time)]
    if not late:
        return [], on_time
    schedule = late[-1].schedule
    window = timedelta(seconds=schedule.catch_up_window_seconds)
    kept = [one for one in late if one.late <= window]
    match schedule.catch_up:
        case "none":
            kept = []
        case "last":
            kept = kept[-1:] if not on_time else []
        case "all":
            kept = kept[-CATCH_UP_LIMIT:]
    return late[: len(late) - len(kept)], kept + on_time
