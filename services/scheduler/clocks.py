"""The clocks of a time zone: when its days begin, and on which of them the clocks are set. Pure.

What is found is kept by zone and month, for all schedules.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from schemas.base import Value

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)


class Month(Value, frozen=True):
    """A month on the clocks of a zone; its days are bits, bit 1 for the first.

    `midnights`: the instants (UTC) at which its days begin, by day. `changing`: the days on which the clocks are set.
    `near`: those, with the days before and after, whose instants may lie among theirs.
    """

    year: int
    month: int
    first_weekday: int  # Sunday is 0
    length: int
    midnights: tuple[datetime, ...]
    changing: int
    near: int


class Run(Value, frozen=True):
    """Minutes of a day, from `begin` up to `end`, that the clocks show alike.

    `first`, `second`: the instants (UTC) at which midnight would have been by the offsets of the two times that a
    minute may stand for. The same: it comes once. `first` is earlier: it comes twice. `first` is later: never, as the
    clocks jump over it at `gap_end`.
    """

    begin: int
    end: int
    first: datetime
    second: datetime
    gap_end: datetime | None


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Return a time zone. Raises `KeyError`, `ValueError` or `OSError` for what is none."""
    return ZoneInfo(name)


@lru_cache(maxsize=4096)
def month(name: str, year: int, number: int) -> Month:
    """Return a month (1 to 12) on the clocks of a zone."""
    first = date(year, number, 1)
    length = ((first + 31 * DAY).replace(day=1) - first).days
    here = zone(name)
    # from the day before the first to the second one after the last
    offsets = [_offset(datetime.combine(first + day * DAY, time(), here)) for day in range(-1, length + 2)]
    set_on = [before != after for before, after in pairwise(offsets)]
    changing = sum(1 << day for day in range(1, length + 1) if set_on[day])
    near = sum(1 << day for day in range(1, length + 1) if any(set_on[day - 1 : day + 2]))
    midnights = [datetime.combine(first + (day - 1) * DAY, time(), UTC) - offsets[day] for day in range(1, length + 1)]
    return Month(
        year=year,
        month=number,
        first_weekday=first.isoweekday() % 7,
        length=length,
        midnights=(midnights[0], *midnights),  # there is no day 0
        changing=changing,
        near=near,
    )


def near_change(name: str, day: date) -> bool:
    """Tell whether the clocks are set on a day, the day before or the day after."""
    return bool(month(name, day.year, day.month).near >> day.day & 1)


@lru_cache(maxsize=1024)
def runs(name: str, day: date) -> tuple[Run, ...]:
    """Return the minutes of a day on which the clocks are set, in order, so that what is alike is together."""
    return tuple(_runs(zone(name), day))


def _runs(here: ZoneInfo, day: date) -> Iterator[Run]:
    midnight = datetime.combine(day, time(), UTC)
    begin, last = 0, _offsets(here, day, 0)
    for minute in range(1, 24 * 60 + 1):
        offsets = _offsets(here, day, minute) if minute < 24 * 60 else None
        if offsets != last:
            first, second = midnight - last[0], midnight - last[1]
            wall = begin * MINUTE
            gap_end = transition(second + wall, first + wall, here) if first > second else None
            yield Run(begin, minute, first, second, gap_end)
            if offsets is not None:
                begin, last = minute, offsets


def _offsets(here: ZoneInfo, day: date, minute: int) -> tuple[timedelta, timedelta]:
    wall = datetime.combine(day, time(minute // 60, minute % 60), here)
    return _offset(wall), _offset(wall.replace(fold=1))


def _offset(wall: datetime) -> timedelta:
    return wall.utcoffset() or timedelta()


def instants_of(wall: datetime, here: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the instants (UTC) that a local time stands for: twice the same, or out of order when it never comes."""
    return wall.replace(tzinfo=here, fold=0).astimezone(UTC), wall.replace(tzinfo=here, fold=1).astimezone(UTC)


def transition(low: datetime, high: datetime, here: ZoneInfo) -> datetime:
    """Return the instant in (low, high] at which a zone's offset changes."""
    offset = low.astimezone(here).utcoffset()
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // (2 * _SECOND))
        if middle.astimezone(here).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high
