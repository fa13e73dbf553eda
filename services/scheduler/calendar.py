"""The calendar: at which instants a schedule matches. Pure, on croniter, in the schedule's own time zone.

Daylight saving: a time that the clocks jump over is shifted to the end of the gap; one that they repeat fires once when
minute and hour are fixed, and at every instant when either is a pattern (`*`, `*/5`, `1-3`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterError

from schemas.base import Value
from schemas.definitions import ScheduleSpec

NAMES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_PATTERN = frozenset("*/-,")
_PROBE = datetime(2026, 1, 1, tzinfo=UTC)


class Fault(Value, frozen=True, kw_only=True):
    """What is wrong with a schedule: the field, and why."""

    field: str
    reason: str


def fault(schedule: ScheduleSpec) -> Fault | None:
    """Return what keeps a schedule from ever firing as its author meant, None when it is good."""
    try:
        ZoneInfo(schedule.timezone)
    except (KeyError, ValueError, OSError):
        return Fault(
            field="timezone", reason=f"{schedule.timezone!r} is no IANA time zone; one is, for example, Europe/Berlin"
        )
    expression = schedule.cron_expression
    if expression.startswith("@"):
        if expression not in NAMES:
            return Fault(field="cron_expression", reason=f"{expression!r} is none of {', '.join(NAMES)}")
        return None
    fields = expression.split()
    if len(fields) != 5:
        reason = f"{expression!r} has {len(fields)} fields; a cron expression has five: minute hour day month weekday"
        return Fault(field="cron_expression", reason=reason)
    if _has_macro(fields):
        return Fault(
            field="cron_expression", reason=f"{expression!r} is not the same every time: R and H are not accepted"
        )
    try:
        found = list(islice(croniter(expression, _PROBE, ret_type=datetime), 5))
    except (CroniterError, ValueError, KeyError, TypeError, OverflowError) as error:
        return Fault(
            field="cron_expression", reason=f"{expression!r} is not a cron expression that ever matches: {error}"
        )
    if len(found) < 5:
        return Fault(field="cron_expression", reason=f"{expression!r} never matches")
    return None


def _has_macro(fields: list[str]) -> bool:
    """Tell whether a field holds croniter's `R` or `H`, not a name such as THU or MAR."""
    return any(
        part.startswith(("R", "H", "r(", "h(")) or part in {"r", "h"} for field in fields for part in field.split(",")
    )


def occurrences(schedule: ScheduleSpec, after: datetime) -> Iterator[datetime]:
    """Yield the UTC instants, strictly after `after`, at which a schedule matches. Lazy, and all but endless."""
    zone = ZoneInfo(schedule.timezone)
    once = _fires_once_a_day(schedule.cron_expression)
    previous_wall: datetime | None = None
    start = after.astimezone(zone)
    if once:
        # begin a little earlier, so that the twin of a repeated hour is seen when `after` lies between the two
        start = datetime.fromtimestamp(after.timestamp() - 7200, zone)
    try:
        for local in croniter(schedule.cron_expression, start, ret_type=datetime):
            wall = local.replace(tzinfo=None, fold=0)
            if once and wall == previous_wall:
                continue
            previous_wall = wall
            instant = local.astimezone(UTC)
            if instant > after:
                yield instant
    except CroniterError:
        return


def next_occurrence(schedule: ScheduleSpec, after: datetime) -> datetime | None:
    """Return the first instant after `after`, None when there is none in the calendar's reach."""
    return next(occurrences(schedule, after), None)


def note(schedule: ScheduleSpec, at: datetime) -> str | None:
    """Return what a change of the clocks did to an occurrence: `shifted`, `repeated`, or None."""
    local = at.astimezone(ZoneInfo(schedule.timezone))
    if local.fold:
        return "repeated"
    matches = croniter.match(schedule.cron_expression, local.replace(tzinfo=None))
    return None if matches else "shifted"


def _fires_once_a_day(expression: str) -> bool:
    """Tell whether minute and hour are fixed numbers, so that a repeated hour must not fire twice."""
    if expression.startswith("@"):
        return expression != "@hourly"
    minute, hour, *_ = expression.split()
    return not (_PATTERN & set(minute + hour))
