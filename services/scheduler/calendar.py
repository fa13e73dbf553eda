"""The calendar: at which instants a schedule matches, in its own time zone. Pure.

Daylight saving. Times whose minute and hour are both fixed (neither begins with `*`) are meant as times of day: one
that the clocks jump over is shifted to the end of the gap (or left out: `dst_gap`), one that they repeat fires at the
first of the two (or at both: `dst_fold`). Patterns such as `*/15 * * * *` are meant as intervals: they fire at every
instant that exists, and at no other.

Costs. A search looks at months, and in a month at the days that an expression matches; a day's minutes are bits of an
integer, so what is excluded costs no more than what fires. It ends after `LOOKS` without a find, whatever the schedule
(docs/time.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any

from schemas.base import FIRST_YEAR, LAST_YEAR, Value
from schemas.definitions import ScheduleSpec
from services.scheduler import clocks
from services.scheduler.clocks import DAY, MINUTE, Month
from services.scheduler.exclusions import Exclusions
from services.scheduler.expression import UNREADABLE, Expression, expression
from services.scheduler.pieces import Piece, firing, first_of, instants, number_of, one_by_one

LOOKS = 2_400  # at months and days without a find: five years of days, or two centuries of months
FIRST, LAST = date(FIRST_YEAR, 1, 1), date(LAST_YEAR, 12, 31)  # the days that are looked at
_BEGINNING = datetime.combine(FIRST + DAY, time(), UTC)
_END = datetime.combine(LAST, time(), UTC)


class Occurrence(Value, frozen=True):
    """One instant (UTC) at which a schedule matches. `note`: `shifted`, `repeated`, or `excluded: <name>`."""

    at: datetime
    note: str | None = None

    @property
    def fires(self) -> bool:
        return self.note is None or not self.note.startswith("excluded")


class Next(Value, frozen=True):
    """What a search found: the next instant that fires. `None`: none up to `searched`, or none for ever."""

    at: datetime | None
    searched: datetime | None = None


class Budget:
    """How many looks may still be made, by all searches that share it; then they end as if nothing more came."""

    def __init__(self, looks: int) -> None:
        self.left = looks


class Tally(Value, frozen=True):
    """What fires in a range: the first instant, how many there are, and the last of them, in order."""

    first: datetime | None
    count: int
    last: list[datetime]


Look = tuple[date, list[Piece]]  # a day that was looked at (or a month, by its first day), and what is there


def unreadable(schedule: ScheduleSpec) -> str | None:
    """Return why a schedule cannot be read at all, None when it can. It was valid once, or never: it does not fire."""
    try:
        clocks.zone(schedule.timezone)
        for one in (schedule.cron_expression, *schedule.more_expressions):
            expression(one)
    except (OSError, *UNREADABLE) as error:
        return f"time zone {schedule.timezone!r}, expression {schedule.cron_expression!r}: {error}"
    return None


class Calendar:
    """A schedule's calendar. One whose zone or expressions cannot be read never fires."""

    def __init__(self, schedule: ScheduleSpec) -> None:
        self._schedule = schedule
        self._zone_name = "UTC"
        self._expressions: list[Expression] = []
        self._exclusions = Exclusions(schedule.exclusions)
        self._inclusions: dict[date, list[datetime]] = {}
        self._inclusion_days: dict[tuple[int, int], int] = {}  # by year and month, as bits
        self._last_day = FIRST
        self._of_month: tuple[Month, dict[tuple[int, bool], int]] | None = None
        self._known: tuple[datetime, Next] | None = None  # the last search: from where, and what it found
        try:
            clocks.zone(schedule.timezone)
            self._expressions = [expression(one) for one in (schedule.cron_expression, *schedule.more_expressions)]
        except (OSError, *UNREADABLE):
            return
        self._zone_name = schedule.timezone
        for wall in schedule.inclusions:
            self._inclusions.setdefault(wall.date(), []).append(wall)
            month = wall.year, wall.month
            self._inclusion_days[month] = self._inclusion_days.get(month, 0) | 1 << wall.day
        self._last_day = min(max([schedule.end_date or LAST, *self._inclusions]), LAST)

    # --- what matches, and when ---

    def annotated(
        self, after: datetime, until: datetime | None = None, budget: Budget | None = None
    ) -> Iterator[Occurrence]:
        """Yield what matches strictly after `after`, up to `until`, with the effect of the clocks or an exclusion."""
        for _, pieces in self._looks(after, until, budget):
            if len(pieces) == 1:
                for at, is_excluded in one_by_one(pieces[0]):
                    yield Occurrence(at, self._excluded_by(at) if is_excluded else pieces[0].note)
                continue
            found: dict[datetime, str | None] = {}
            for piece in pieces:
                for at in instants(piece.base, piece.fires | piece.excluded):
                    # of two reasons to fire at one instant, the one without a remark counts
                    found[at] = found[at] and piece.note if at in found else piece.note
            excluded = {at for piece in pieces for at in instants(piece.base, piece.excluded)}
            for at in sorted(found):
                yield Occurrence(at, self._excluded_by(at) if at in excluded else found[at])

    def occurrences(
        self, after: datetime, until: datetime | None = None, budget: Budget | None = None
    ) -> Iterator[datetime]:
        """Yield the instants strictly after `after`, up to `until`, at which it fires."""
        for _, pieces in self._looks(after, until, budget):
            yield from firing(pieces)

    def fires(self, at: datetime) -> bool:
        """Tell whether it fires at an instant."""
        return _BEGINNING < at < _END and at in self.occurrences(at - MINUTE, at)

    def fires_after(self, after: datetime, budget: Budget | None = None) -> bool:
        """Tell whether it fires at all strictly after an instant, as far as it is looked for."""
        return any(piece.fires for _, pieces in self._looks(after, None, budget) for piece in pieces)

    def next(self, after: datetime) -> Next:
        """Return the first instant strictly after `after` at which it fires."""
        if self._known is not None:
            begin, known = self._known
            if begin <= after < (known.at or known.searched or _END):
                return known
        found = self._search(after)
        self._known = (after, found)
        return found

    def _search(self, after: datetime) -> Next:
        for number, (day, pieces) in enumerate(self._looks(after, None), start=1):
            if any(piece.fires for piece in pieces):
                return Next(first_of(pieces))
            if number == LOOKS:
                midnight = clocks.month(self._zone_name, day.year, day.month).midnights[day.day]
                return Next(None, max(after, midnight))
        return Next(None)

    def tally(self, after: datetime, until: datetime, most: int) -> Tally:
        """Return what fires strictly after `after`, up to `until`: with the last `most` instants, or all of fewer."""
        first: datetime | None = None
        count = kept = 0
        last: deque[tuple[int, list[Piece]]] = deque()
        for _, pieces in self._looks(after, until):
            if number := number_of(pieces):
                first = first or first_of(pieces)
                count, kept = count + number, kept + number
                last.append((number, pieces))
                while kept - last[0][0] >= most:
                    kept -= last.popleft()[0]
        return Tally(first, count, [at for _, pieces in last for at in firing(pieces)][-most:])

    def _excluded_by(self, at: datetime) -> str:
        exclusion = self._exclusions.at(self._wall(at))
        return f"excluded: {exclusion.name if exclusion else ''}"

    def _wall(self, at: datetime) -> datetime:
        return at.astimezone(clocks.zone(self._zone_name)).replace(tzinfo=None, fold=0)

    # --- looks ---

    def _looks(self, after: datetime, until: datetime | None, budget: Budget | None = None) -> Iterator[Look]:
        """Yield, look by look, what is strictly after an instant, up to another or until `LOOKS` were in vain."""
        after, end = max(after, _BEGINNING), _END if until is None else min(until, _END)
        if after >= end or (budget is not None and budget.left <= 0):
            return
        zone = clocks.zone(self._zone_name)
        first, last = after.astimezone(zone).date() - DAY, end.astimezone(zone).date() + DAY
        vain = 0
        for day, pieces in self.look(first, min(last, self._last_day)):
            within = [piece.within(after, end) for piece in pieces]
            if budget is not None:
                budget.left -= 1
            yield day, within
            vain = 0 if any(piece.fires for piece in within) else vain + 1
            if (until is None and vain >= LOOKS) or (budget is not None and budget.left <= 0):
                return

    def look(self, first: date, last: date) -> Iterator[Look]:
        """Yield, in order, each day that is looked at from `first` to `last`, and each month without one.

        Consecutive days near a change of the clocks are one look, as their instants may lie among one another.
        """
        together: list[Piece] = []
        end: date | None = None  # of the days that are looked at together
        for day, month in self._days(first, last):
            near = month is not None and bool(month.near >> day.day & 1)
            if end is not None and not (near and day - end == DAY):
                yield end, together
                together, end = [], None
            pieces = [] if month is None else self._on(day, month)
            if near:
                together, end = [*together, *pieces], day
            else:
                yield day, pieces
        if end is not None:
            yield end, together

    def _days(self, first: date, last: date) -> Iterator[tuple[date, Month | None]]:
        """Yield the days on which something matches; the first day, and no month, for each month without any."""
        year, number = first.year, first.month
        while (year, number) <= (last.year, last.month):
            month = clocks.month(self._zone_name, year, number)
            days = 0
            for bits, _ in self._minutes(month):
                days |= bits
            days = (days | self._inclusion_days.get((year, number), 0)) & _between(month, first, last)
            if not days:
                yield date(year, number, 1), None
            while days:
                day = days & -days
                days ^= day
                yield date(year, number, day.bit_length() - 1), month
            year, number = (year, number + 1) if number < 12 else (year + 1, 1)

    def _minutes(self, month: Month) -> dict[tuple[int, bool], int]:
        """Return the minutes of the expressions, by the days of a month on which they match, and by `fixed`."""
        if self._of_month is None or self._of_month[0] is not month:
            within = _between(month, self._schedule.start_date or FIRST, self._schedule.end_date or LAST)
            found: dict[tuple[int, bool], int] = {}
            for one in self._expressions if within else ():
                if days := one.days(month.month, month.first_weekday, month.length) & within:
                    found[days, one.fixed] = found.get((days, one.fixed), 0) | one.minutes
            self._of_month = (month, found)
        return self._of_month[1]

    def _on(self, day: date, month: Month) -> list[Piece]:
        """Return what matches on a day."""
        fixed = patterns = 0
        for (days, is_fixed), minutes in self._minutes(month).items():
            if days >> day.day & 1:
                fixed, patterns = (fixed | minutes, patterns) if is_fixed else (fixed, patterns | minutes)
        walls = self._inclusions.get(day, ())
        included, odd = 0, list[datetime]()
        for wall in walls:
            if wall.second or wall.microsecond:
                odd.append(wall)
            else:
                included |= 1 << 60 * wall.hour + wall.minute
        if month.changing >> day.day & 1:
            return [*self._on_change(day, fixed, patterns, included), *self._odd_on_change(odd)]
        midnight = month.midnights[day.day]
        matching = fixed | patterns
        excluded = self._exclusions.on(day) & matching & ~included
        there = [Piece(midnight, matching & ~excluded | included, excluded)]
        return [*there, *(Piece(midnight + (wall - datetime.combine(day, time())), 1) for wall in odd)]

    # --- days on which the clocks are set ---

    def _on_change(self, day: date, fixed: int, patterns: int, included: int) -> Iterator[Piece]:
        """Yield what matches on a day on which the clocks are set, at full minutes."""
        excluded = self._exclusions.on(day) & ~included
        fixed |= included
        for run in clocks.runs(self._zone_name, day):
            minutes = (1 << run.end) - (1 << run.begin)
            if run.gap_end is not None:  # it does not come at all
                if fixed & minutes and self._schedule.dst_gap == "shift":
                    yield self._shifted(run.gap_end)
                continue
            there = (fixed | patterns) & minutes
            yield Piece(run.first, there & ~excluded, there & excluded)
            if run.second != run.first:  # it comes twice
                there = (patterns | (fixed if self._schedule.dst_fold == "both" else 0)) & minutes
                yield Piece(run.second, there & ~excluded, there & excluded, "repeated")

    def _odd_on_change(self, walls: Iterable[datetime]) -> Iterator[Piece]:
        """Yield what inclusions between full minutes stand for on a day on which the clocks are set."""
        for wall in walls:
            first, second = clocks.instants_of(wall, clocks.zone(self._zone_name))
            if first <= second:
                yield Piece(first, 1)
                if first < second and self._schedule.dst_fold == "both":
                    yield Piece(second, 1, note="repeated")
            elif self._schedule.dst_gap == "shift":
                yield self._shifted(clocks.transition(second, first, clocks.zone(self._zone_name)))

    def _shifted(self, at: datetime) -> Piece:
        wall = self._wall(at)
        excluded = wall not in self._inclusions.get(wall.date(), ()) and self._exclusions.at(wall) is not None
        return Piece(at, int(not excluded), int(excluded), "shifted")


def _between(month: Month, first: date, last: date) -> int:
    """Return the days of a month from one day to another, as bits."""
    this = (month.year, month.month)
    begin = 1 if (first.year, first.month) < this else first.day
    end = month.length if (last.year, last.month) > this else last.day
    if (first.year, first.month) > this or (last.year, last.month) < this:
        return 0
    return max(0, (1 << end + 1) - (1 << begin))


# --- of a schedule ----------------------------------------------------------------------------------------------------


class _Times(Value, frozen=True):
    """A schedule, known by what in it says when it fires."""

    schedule: ScheduleSpec
    key: tuple[Any, ...]

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Times) and self.key == other.key


@lru_cache(maxsize=1024)
def _calendar(times: _Times) -> Calendar:
    return Calendar(times.schedule)


def of(schedule: ScheduleSpec) -> Calendar:
    """Return a schedule's calendar, the same one for all schedules with the same times."""
    exclusions = (
        (one.name, *one.weekdays, one.first_date, one.last_date, one.from_time, one.to_time)
        for one in schedule.exclusions
    )
    clocks_ = (schedule.timezone, schedule.dst_gap, schedule.dst_fold, schedule.start_date, schedule.end_date)
    expressions = (schedule.cron_expression, *schedule.more_expressions)
    return _calendar(_Times(schedule, (*clocks_, expressions, tuple(exclusions), tuple(schedule.inclusions))))


def annotated(schedule: ScheduleSpec, after: datetime, until: datetime | None = None) -> Iterator[Occurrence]:
    """Yield the instants strictly after `after`, up to `until`, with the effect of the clocks or an exclusion.

    Lazy; without `until` it ends when nothing fires for long.
    """
    return of(schedule).annotated(after, until)


def occurrences(schedule: ScheduleSpec, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
    """Yield the instants strictly after `after`, up to `until`, at which a schedule fires. Lazy, as `annotated`."""
    return of(schedule).occurrences(after, until)


def next_occurrence(schedule: ScheduleSpec, after: datetime) -> datetime | None:
    """Return the first instant after `after` at which a schedule fires, None when there is none in reach."""
    return of(schedule).next(after).at


def jitter(schedule: ScheduleSpec, flow_id: str) -> timedelta:
    """Return how long after an occurrence a flow begins: the same for ever, and different for each flow."""
    if not schedule.jitter_seconds:
        return timedelta()
    number = int.from_bytes(sha256(flow_id.encode()).digest()[:8], "big")
    return timedelta(seconds=number % (schedule.jitter_seconds + 1))
