"""Exclusions: at which local times a schedule does not fire. Pure.

What is excluded on a day follows from its weekday and from which exclusions are in force then. So it is worked out once
for each such kind of day, as bits of the day's minutes, however many days of the kind there are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

from schemas.definitions import Exclusion

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")  # cron's own numbers
ALL_DAY = (1 << 24 * 60) - 1
REMEMBERED = 64  # kinds of days
_DAY = timedelta(days=1)


class Exclusions:
    """The exclusions of one schedule."""

    def __init__(self, exclusions: Sequence[Exclusion]) -> None:
        self._all = exclusions
        self._minutes = [_minutes(exclusion) for exclusion in exclusions]
        begins = {exclusion.first_date.toordinal() for exclusion in exclusions if exclusion.first_date}
        ends = {exclusion.last_date.toordinal() + 1 for exclusion in exclusions if exclusion.last_date}
        self._changes = sorted(begins | ends)  # days (ordinals) from which on others are in force
        self._of_kind: dict[tuple[int, int, int], int] = {}

    def on(self, day: date) -> int:
        """Return the minutes of a day that are excluded, as bits, bit 0 for midnight."""
        if not self._all:
            return 0
        ordinal = day.toordinal()
        kind = (bisect_right(self._changes, ordinal), bisect_right(self._changes, ordinal - 1), ordinal % 7)
        found = self._of_kind.get(kind)
        if found is None:
            if len(self._of_kind) >= REMEMBERED:
                self._of_kind.clear()
            found = self._of_kind[kind] = self._work_out(day)
        return found

    def _work_out(self, day: date) -> int:
        found = 0
        for exclusion, (own, after) in zip(self._all, self._minutes, strict=True):
            if _on_day(day, exclusion):
                found |= own
            if after and _on_day(day - _DAY, exclusion):
                found |= after
        return found

    def at(self, wall: datetime) -> Exclusion | None:
        """Return the first exclusion that a local time falls into, None when it falls into none."""
        return next((exclusion for exclusion in self._all if _falls_into(wall, exclusion)), None)


def _minutes(exclusion: Exclusion) -> tuple[int, int]:
    """Return the minutes that are excluded on a day of an exclusion, and on the day after it."""
    if exclusion.from_time is None or exclusion.to_time is None:
        return ALL_DAY, 0
    until_begin, until_end = (1 << _minute(exclusion.from_time)) - 1, (1 << _minute(exclusion.to_time)) - 1
    if exclusion.from_time < exclusion.to_time:
        return until_end & ~until_begin, 0
    return ALL_DAY & ~until_begin, until_end


def _minute(at: time) -> int:
    """Return the first minute of a day at or after a time."""
    return 60 * at.hour + at.minute + bool(at.second or at.microsecond)


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
