"""What keeps a schedule from ever firing as its author meant. Pure; time is an argument."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from msgspec import structs

from schemas.base import Value
from schemas.definitions import Exclusion, ScheduleSpec
from services.scheduler import calendar, clocks
from services.scheduler.expression import NAMES, UNREADABLE, expression

WITHIN = timedelta(days=5 * 366)  # a schedule that does not fire for so long is a mistake


class InvalidField(Value, frozen=True, kw_only=True):
    """What is wrong with a schedule: the field, and why."""

    field: str
    reason: str


def validate(schedule: ScheduleSpec) -> Iterator[InvalidField]:
    """Yield each field that is wrong; none when the schedule is valid."""
    if reason := zone_fault(schedule.timezone):
        yield InvalidField(field="timezone", reason=reason)
    for field, expressions in (
        ("cron_expression", [schedule.cron_expression]),
        ("more_expressions", schedule.more_expressions),
    ):
        for one in expressions:
            if reason := _expression_error(one):
                yield InvalidField(field=field, reason=reason)
    for exclusion in schedule.exclusions:
        if reason := _exclusion_error(exclusion):
            yield InvalidField(field="exclusions", reason=f"exclusion {exclusion.name!r} {reason}")
    if schedule.start_date and schedule.end_date and schedule.start_date > schedule.end_date:
        yield InvalidField(field="end_date", reason=f"it ends on {schedule.end_date}, before it starts")


def zone_fault(name: str) -> str | None:
    """Return what is wrong with the name of a time zone, None when there is one."""
    try:
        clocks.zone(name)
    except (KeyError, ValueError, OSError):
        return f"{name!r} is no IANA time zone; one is, for example, Europe/Berlin"
    return None


def never_fires(schedule: ScheduleSpec, now: datetime) -> InvalidField | None:
    """Return the field that keeps a valid schedule from firing within five years, None when it fires.

    One with an end is judged by the five years before its end too: that it has ended, or is being ended, is no mistake.
    """
    if _fires(schedule, now):
        return None
    without = structs.replace(schedule, exclusions=[])
    if schedule.exclusions and _fires(without, now):
        return InvalidField(field="exclusions", reason="all that it matches within five years is excluded")
    undated = structs.replace(without, start_date=None, end_date=None)
    if not _fires(undated, now):
        return InvalidField(
            field="cron_expression", reason=f"{schedule.cron_expression!r} does not match within five years"
        )
    if schedule.end_date is None or (schedule.start_date and schedule.start_date > (now + WITHIN).date()):
        return InvalidField(field="start_date", reason=f"it starts on {schedule.start_date}, in more than five years")
    return InvalidField(field="end_date", reason=f"nothing that it matches comes before its end, {schedule.end_date}")


def _fires(schedule: ScheduleSpec, now: datetime) -> bool:
    begin = now
    if schedule.end_date is not None:
        begin = min(now, _midnight(max(schedule.end_date, calendar.FIRST + WITHIN)) - WITHIN)
    return next(calendar.occurrences(schedule, begin, now + WITHIN), None) is not None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _expression_error(text: str) -> str | None:
    if text.startswith("@"):
        return None if text in NAMES else f"{text!r} is none of {', '.join(NAMES)}"
    fields = text.split()
    if len(fields) != 5:
        return f"{text!r} has {len(fields)} fields; a cron expression has five: minute hour day month weekday"
    parts = [part for field in fields for part in field.lower().split(",")]
    if any(part.startswith(("r(", "h(")) or part in {"r", "h"} for part in parts):
        return f"{text!r} is not the same every time: R and H are not accepted"
    if any(part.endswith("w") for part in fields[2].lower().split(",")):
        return f"{text!r} asks for the nearest weekday (W), which is not supported"
    for part in parts:
        low, dash, high = part.partition("/")[0].partition("-")
        if dash and low.isdecimal() and high.isdecimal() and int(low) > int(high):
            return f"{text!r} has the range {part!r}, which ends before it begins"
    for field, size in zip(fields, (60, 24, 31, 12, 7), strict=True):
        for part in field.split(","):
            step = part.partition("/")[2]
            if step.isdecimal() and int(step) >= size:
                return f"{text!r} has the step {part!r}, which is longer than the field"
    try:
        matches = expression(text).ever_matches
    except UNREADABLE as error:
        return f"{text!r} is not a cron expression that ever matches: {error}"
    return None if matches else f"{text!r} is not a cron expression that ever matches"


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
