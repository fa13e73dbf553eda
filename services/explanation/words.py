"""How numbers, names and times are told to people. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.base import Value
from services.scheduler import clocks
from services.scheduler.expression import UNREADABLE

NAMED = 5  # names in one list; of the rest the number is told
LONGEST = 300  # characters of an error
_FRACTION = re.compile(r"(\d\d:\d\d:\d\d)\.\d+")


def number(count: int, noun: str) -> str:
    """Return a count with its noun: `1 VM`, `3 VMs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def are(names: Sequence[object], singular: str, plural: str) -> str:
    """Return the form of a verb that fits so many."""
    return singular if len(names) == 1 else plural


def together(count: int, noun: str) -> str:
    """Return all of so many: `both VMs`, `all 3 VMs`."""
    return f"both {noun}s" if count == 2 else f"all {number(count, noun)}"


def listed(names: Sequence[str]) -> str:
    """Return names as people list them: `A, B and C`; of many the first and how many more there are."""
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED:,} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"


def capital(text: str) -> str:
    """Return a text as a sentence begins."""
    return text[:1].upper() + text[1:]


def plain(text: str) -> str:
    """Return the text of somebody else in one line, without fractions of seconds and a final stop."""
    line = _FRACTION.sub(r"\1", " ".join(text.split())).rstrip(".")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def duration(span: timedelta) -> str:
    """Return a span in its two largest units, whole seconds at the least: `41 s`, `2 min 5 s`, `3 h`, `2 days 4 h`."""
    seconds = max(0, int(span.total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(number(days, "day"), days), (f"{hours} h", hours), (f"{minutes} min", minutes), (f"{seconds} s", seconds)]
    first = next((place for place, (_, amount) in enumerate(units) if amount), 3)
    return " ".join(text for text, amount in units[first : first + 2] if amount) or "less than a second"


class Clock(Value, frozen=True):
    """The clock by which is told: local times of a zone beside UTC. Days are named unless it is `day`."""

    zone: str
    day: date

    @classmethod
    def of(cls, zone: str, around: datetime) -> Clock:
        """Return the clock of a zone on the day of an instant; in UTC when there is no such zone."""
        try:
            local = around.astimezone(clocks.zone(zone))
        except (OSError, *UNREADABLE):
            zone, local = "UTC", around.astimezone(UTC)
        return cls(zone, local.date())

    def at(self, instant: datetime) -> str:
        """Return an instant: `03:00:41 (02:00:41 UTC)`."""
        local = instant.astimezone(ZoneInfo(self.zone))
        return self._told(instant, local, dated=local.date() != self.day, zoned=False)

    def on(self, instant: datetime) -> str:
        """Return an instant with its day and zone: `2026-11-01 03:00 Europe/Berlin (02:00 UTC)`."""
        return self._told(instant, instant.astimezone(ZoneInfo(self.zone)), dated=True, zoned=True)

    def _told(self, instant: datetime, local: datetime, *, dated: bool, zoned: bool) -> str:
        there = _time(local, dated=dated)
        if self.zone == "UTC":
            return f"{there} UTC"
        utc = instant.astimezone(UTC)
        place = f" {self.zone}" if zoned else ""
        return f"{there}{place} ({_time(utc, dated=utc.date() != local.date())} UTC)"


def _time(at: datetime, *, dated: bool) -> str:
    time = f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"
    return f"{at:%Y-%m-%d} {time}" if dated else time
