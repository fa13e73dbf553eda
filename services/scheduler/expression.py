"""A cron expression, expanded: on which days it matches, and at which minutes of the day. Pure; croniter reads it.

Days of a month and minutes of a day are bits of an integer: a union is one `|`, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from croniter import croniter
from croniter.croniter import CroniterError

NAMES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
UNREADABLE = (CroniterError, ValueError, KeyError, TypeError, OverflowError)  # what reading one may raise
LENGTHS = (28, 29, 30, 31)  # of a month


class Expression:
    """`minutes`: bit 0 is midnight. `fixed`: neither minute nor hour begins with `*`, so it means times of day."""

    def __init__(self, text: str) -> None:
        expanded, nth = croniter.expand(_without_single_ranges(text))[:2]
        minutes, hours, days, months, weekdays = ([*field] for field in expanded)
        self.minutes = _bits(
            60 * hour + minute for hour in _all(hours, range(24)) for minute in _all(minutes, range(60))
        )
        self._months = frozenset(_all(months, range(1, 13)))
        self._any_day, self._any_weekday = days == ["*"], weekdays == ["*"]
        self._days = _bits(int(day) for day in days if day not in {"*", "l"})
        self._last_day = "l" in days
        self._weekdays = [int(weekday) for weekday in weekdays if weekday != "*"]
        self._nth = {int(weekday): frozenset(map(str, numbers)) for weekday, numbers in nth.items()}
        plain = text.split() if not text.startswith("@") else ["0", "*" if text == "@hourly" else "0"]
        self.fixed = not (plain[0].startswith("*") or plain[1].startswith("*"))
        self._of_shape: dict[tuple[int, int], int] = {}  # by a month's first weekday and its length: at most 28

    def days(self, month: int, first_weekday: int, length: int) -> int:
        """Return the days that match in a month (1 to 12) as bits, bit 1 for the first. Sunday is weekday 0.

        Of day and weekday, when both are restricted, either is enough.
        """
        if month not in self._months:
            return 0
        found = self._of_shape.get((first_weekday, length))
        if found is None:
            found = self._of_shape[first_weekday, length] = self._shaped(first_weekday, length)
        return found

    @property
    def ever_matches(self) -> bool:
        """Tell whether there is any month with a day that matches."""
        lengths = {2: (28, 29), 4: (30,), 6: (30,), 9: (30,), 11: (30,)}
        return any(
            self.days(month, weekday, length)
            for month in range(1, 13)
            for weekday in range(7)
            for length in lengths.get(month, (31,))
        )

    def _shaped(self, first_weekday: int, length: int) -> int:
        every = (1 << length + 1) - 2
        if self._any_day and self._any_weekday:
            return every
        found = 0
        if not self._any_day:
            found |= self._days & every | (self._last_day << length)
        if not self._any_weekday:
            for weekday in self._weekdays:
                first = 1 + (weekday - first_weekday) % 7
                days = range(first, length + 1, 7)
                numbers = self._nth.get(weekday)
                found |= _bits(
                    day
                    for number, day in enumerate(days, start=1)
                    if numbers is None or str(number) in numbers or ("l" in numbers and day + 7 > length)
                )
        return found


@lru_cache(maxsize=4096)
def expression(text: str) -> Expression:
    """Return a cron expression, expanded. Raises one of `UNREADABLE`."""
    return Expression(text)


def _bits(numbers: Iterable[int]) -> int:
    found = 0
    for number in numbers:
        found |= 1 << number
    return found


def _without_single_ranges(text: str) -> str:
    """Return the expression with `5-5` as `5`: croniter takes a range of one for the whole field."""

    def plain(part: str) -> str:
        low, dash, high = part.partition("/")[0].partition("-")
        return low if dash and low.lower() == high.lower() else part

    return " ".join(",".join(map(plain, field.split(","))) for field in text.split(" "))


def _all(values: Sequence[int | str], every: range) -> list[int]:
    return list(every) if list(values) == ["*"] else [int(value) for value in values]
