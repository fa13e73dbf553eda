"""The calendar: at which instants a schedule matches, in its own time zone. Pure; croniter reads the expressions.

Daylight saving. Times whose minute and hour are both fixed (neither begins with `*`) are meant as times of day: one
that the clocks jump over is shifted to the end of the gap (or left out: `dst_gap`), one that they repeat fires at the
first of the two (or at both: `dst_fold`). Patterns such as `*/15 * * * *` are meant as intervals: they fire at every
instant that exists, and at no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterError

from schemas.base import Value
from schemas.definitions import Exclusion, ScheduleSpec

NAMES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")  # cron's own numbers
MOST = 5  # occurrences that are searched for when an expression is validated
REACH = 41 * 366  # days that are searched: over a leap year that is none (2100), 29 February on one weekday included
_MARGIN = timedelta(hours=3)  # no clock is ever set by more, save once in a lifetime (Samoa skipped a day)
_DAY = timedelta(days=1)


class InvalidField(Value, frozen=True, kw_only=True):
    """What is wrong with a schedule: the field, and why."""

    field: str
    reason: str


class Occurrence(Value, frozen=True):
    """One instant (UTC) at which a schedule matches. `note`: `shifted`, `repeated`, or `excluded: <name>`."""

    at: datetime
    note: str | None = None

    @property
    def fires(self) -> bool:
        return self.note is None or not self.note.startswith("excluded")


# --- validation ------------------------------------------------------------------------------------------------------


def validate(schedule: ScheduleSpec) -> InvalidField | None:
    """Return the first field that is wrong, None when the schedule is valid."""
    try:
        ZoneInfo(schedule.timezone)
    except (KeyError, ValueError, OSError):
        return InvalidField(
            field="timezone", reason=f"{schedule.timezone!r} is no IANA time zone; one is, for example, Europe/Berlin"
        )
    for field, expressions in (
        ("cron_expression", [schedule.cron_expression]),
        ("more_expressions", schedule.more_expressions),
    ):
        for expression in expressions:
            if reason := _expression_error(expression):
                return InvalidField(field=field, reason=reason)
    for exclusion in schedule.exclusions:
        if reason := _exclusion_error(exclusion):
            return InvalidField(field="exclusions", reason=f"exclusion {exclusion.name!r} {reason}")
    if schedule.start_date and schedule.end_date and schedule.start_date > schedule.end_date:
        return InvalidField(field="end_date", reason=f"it ends on {schedule.end_date}, before it starts")
    return None


def _expression_error(expression: str) -> str | None:
    if expression.startswith("@"):
        return None if expression in NAMES else f"{expression!r} is none of {', '.join(NAMES)}"
    fields = expression.split()
    if len(fields) != 5:
        return f"{expression!r} has {len(fields)} fields; a cron expression has five: minute hour day month weekday"
    parts = [part for field in fields for part in field.lower().split(",")]
    if any(part.startswith(("r(", "h(")) or part in {"r", "h"} for part in parts):
        return f"{expression!r} is not the same every time: R and H are not accepted"
    if any(part.endswith("w") for part in fields[2].lower().split(",")):
        return f"{expression!r} asks for the nearest weekday (W), which is not supported"
    for part in parts:
        low, dash, high = part.partition("/")[0].partition("-")
        if dash and low.isdigit() and high.isdigit() and int(low) > int(high):
            return f"{expression!r} has the range {part!r}, which ends before it begins"
    for field, size in zip(fields, (60, 24, 31, 12, 7), strict=True):
        for part in field.split(","):
            step = part.partition("/")[2]
            if step.isdigit() and int(step) >= size:
                return f"{expression!r} has the step {part!r}, which is longer than the field"
    try:
        fields_ = _fields(expression)
    except (CroniterError, ValueError, KeyError, TypeError, OverflowError) as error:
        return f"{expression!r} is not a cron expression that ever matches: {error}"
    days = (date(2026, 1, 1) + number * _DAY for number in range(REACH))
    if len(list(islice((day for day in days if fields_.on(day)), MOST))) < MOST:
        return f"{expression!r} is not a cron expression that ever matches"
    return None


def _exclusion_error(exclusion: Exclusion) -> str | None:
    dates = (exclusion.first_date, exclusion.last_date)
    times = (exclusion.from_time, exclusion.to_time)
    if not exclusion.weekdays and dates == (None, None) and times == (None, None):
        return "names no weekdays, no dates and no times"
    if (times[0] is None) != (times[1] is None):
        return "needs both from_time and to_time, or neither"
    if times[0] is not None and times[0] == times[1]:
        return "begins and ends at the same time"
    if dates[0] is not None and dates[1] is not None and dates[0] > dates[1]:
        return "ends before it begins"
    return None


# --- days and times of day ------------------------------------------------------------------------------


class _Fields:
    """A cron expression, expanded: which days match, and which times of day."""

    def __init__(self, expression: str) -> None:
        expanded, nth = croniter.expand(_without_single_ranges(expression))[:2]
        minutes, hours, days, months, weekdays = ([*field] for field in expanded)
        self.times = [
            time(int(hour), int(minute)) for hour in _all(hours, range(24)) for minute in _all(minutes, range(60))
        ]
        self._months = frozenset(_all(months, range(1, 13)))
        self._any_day, self._any_weekday = days == ["*"], weekdays == ["*"]
        self._days = frozenset(day for day in days if day not in {"*", "l"})
        self._last_day = "l" in days
        self._weekdays = frozenset(int(weekday) for weekday in weekdays if weekday != "*")
        self._nth = {int(weekday): frozenset(map(str, numbers)) for weekday, numbers in nth.items()}
        plain = expression.split() if not expression.startswith("@") else ["0", "*" if expression == "@hourly" else "0"]
        self.fixed = not (plain[0].startswith("*") or plain[1].startswith("*"))

    def on(self, day: date) -> bool:
        """Tell whether a day matches. Of day and weekday, when both are restricted, either is enough."""
        if day.month not in self._months:
            return False
        if self._any_day and self._any_weekday:
            return True
        by_day = not self._any_day and (day.day in self._days or (self._last_day and (day + _DAY).day == 1))
        return by_day or (not self._any_weekday and self._on_weekday(day))

    def _on_weekday(self, day: date) -> bool:
        weekday = day.isoweekday() % 7
        if weekday not in self._weekdays:
            return False
        numbers = self._nth.get(weekday)
        if numbers is None:
            return True
        return str((day.day - 1) // 7 + 1) in numbers or ("l" in numbers and (day + 7 * _DAY).month != day.month)


def _without_single_ranges(expression: str) -> str:
    """Return the expression with `5-5` as `5`: croniter takes a range of one for the whole field."""

    def plain(part: str) -> str:
        low, dash, high = part.partition("/")[0].partition("-")
        return low if dash and low.lower() == high.lower() else part

    return " ".join(",".join(map(plain, field.split(","))) for field in expression.split(" "))


def _all(values: Sequence[int | str], every: range) -> list[int]:
    return list(every) if list(values) == ["*"] else [int(value) for value in values]


@lru_cache(maxsize=10_000)
def _fields(expression: str) -> _Fields:
    return _Fields(expression)


@lru_cache(maxsize=1_000)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


# --- occurrences ------------------------------------------------------------------------------------------------------


def annotated(schedule: ScheduleSpec, after: datetime, until: datetime | None = None) -> Iterator[Occurrence]:
    """Yield the instants strictly after `after`, up to `until`, with the effect of the clocks or an exclusion.

    Lazy; without `until` all but endless.
    """
    zone = _zone(schedule.timezone)
    expressions = [_fields(one) for one in (schedule.cron_expression, *schedule.more_expressions)]
    inclusions: dict[date, list[datetime]] = {}
    for wall in schedule.inclusions:
        inclusions.setdefault(wall.date(), []).append(wall)
    day = after.astimezone(zone).date() - _DAY
    last_inclusion = max(inclusions, default=None)
    pending: dict[datetime, str | None] = {}
    searched = 0
    while searched < REACH and day < date.max - 2 * _DAY:
        found = _on(schedule, day, zone, expressions, inclusions.get(day, ()))
        searched = 0 if found else searched + 1
        for at, note in found:
            # of two reasons to fire at one instant, the one without a remark counts
            pending[at] = note if at not in pending else pending[at] and note
        day += _DAY
        horizon = datetime.combine(day, time(), zone).astimezone(UTC) - _MARGIN
        for at in sorted(at for at in pending if at < horizon):
            if until is not None and at > until:
                return
            note = pending.pop(at)
            if at > after:
                yield _excluded(schedule, at, note, zone, inclusions)
        if until is not None and horizon > until:
            return
        ended = schedule.end_date is not None and day > schedule.end_date
        if ended and not pending and (last_inclusion is None or day > last_inclusion):
            return


def _on(
    schedule: ScheduleSpec,
    day: date,
    zone: ZoneInfo,
    expressions: list[_Fields],
    inclusions: list[datetime] | tuple[()],
) -> list[tuple[datetime, str | None]]:
    """Return what matches on a day, unsorted."""
    in_range = (schedule.start_date is None or day >= schedule.start_date) and (
        schedule.end_date is None or day <= schedule.end_date
    )
    matching = [fields for fields in expressions if in_range and fields.on(day)]
    if not matching and not inclusions:
        return []
    found: list[tuple[datetime, str | None]] = []
    midnight = datetime.combine(day, time(), zone)
    offset = midnight.utcoffset()
    if offset == datetime.combine(day + _DAY, time(), zone).utcoffset():
        base = datetime.combine(day, time(), UTC) - (offset or timedelta())
        for fields in matching:
            found += [(base + timedelta(hours=at.hour, minutes=at.minute), None) for at in fields.times]
        found += [(base + (wall - datetime.combine(day, time())), None) for wall in inclusions]
        return found
    for fields in matching:
        for at in fields.times:
            found += _instants(schedule, datetime.combine(day, at), zone, fixed=fields.fixed)
    for wall in inclusions:
        found += _instants(schedule, wall, zone, fixed=True)
    return found


def _instants(
    schedule: ScheduleSpec, wall: datetime, zone: ZoneInfo, *, fixed: bool
) -> list[tuple[datetime, str | None]]:
    """Return the instants that a time of day stands for, on a day on which the clocks are set."""
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first == second:
        return [(first, None)]
    if first < second:  # it comes twice
        if fixed and schedule.dst_fold == "first":
            return [(first, None)]
        return [(first, None), (second, "repeated")]
    if not fixed or schedule.dst_gap == "skip":  # it does not come at all
        return []
    return [(_transition(second, first, zone), "shifted")]


def _transition(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant in (low, high] at which a zone's offset changes."""
    offset = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high


def _excluded(
    schedule: ScheduleSpec, at: datetime, note: str | None, zone: ZoneInfo, inclusions: dict[date, list[datetime]]
) -> Occurrence:
    """Return the occurrence, with the exclusion that it falls into. What was included by name is not excluded."""
    if schedule.exclusions:
        wall = at.astimezone(zone).replace(tzinfo=None, fold=0)
        if wall not in inclusions.get(wall.date(), ()):
            for exclusion in schedule.exclusions:
                if _falls_into(wall, exclusion):
                    return Occurrence(at, f"excluded: {exclusion.name}")
    return Occurrence(at, note)


def _falls_into(wall: datetime, exclusion: Exclusion) -> bool:
    """Tell whether a local time is in an exclusion. A window over midnight belongs to the day on which it begins."""
    begin, end = exclusion.from_time, exclusion.to_time
    if begin is None or end is None:
        return _on_day(wall.date(), exclusion)
    if begin < end:
        return begin <= wall.time() < end and _on_day(wall.date(), exclusion)
    return (wall.time() >= begin and _on_day(wall.date(), exclusion)) or (
        wall.time() < end and _on_day(wall.date() - _DAY, exclusion)
    )


def _on_day(day: date, exclusion: Exclusion) -> bool:
    return (
        (not exclusion.weekdays or WEEKDAYS[day.isoweekday() % 7] in exclusion.weekdays)
        and (exclusion.first_date is None or day >= exclusion.first_date)
        and (exclusion.last_date is None or day <= exclusion.last_date)
    )


def occurrences(schedule: ScheduleSpec, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
    """Yield the instants strictly after `after`, up to `until`, at which a schedule fires. Lazy, all but endless."""
    return (one.at for one in annotated(schedule, after, until) if one.fires)


def next_occurrence(schedule: ScheduleSpec, after: datetime) -> datetime | None:
    """Return the first instant after `after` at which a schedule fires, None when there is none in reach."""
    return next(occurrences(schedule, after), None)


def jitter(schedule: ScheduleSpec, flow_id: str) -> timedelta:
    """Return how long after an occurrence a flow begins: always the same, and different for each flow."""
    if not schedule.jitter_seconds:
        return timedelta()
    number = int.from_bytes(sha256(flow_id.encode()).digest()[:8], "big")
    return timedelta(seconds=number % (schedule.jitter_seconds + 1))
