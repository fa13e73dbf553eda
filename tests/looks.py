"""What searches over time look through: counted, so that no test of it depends on a clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

import pytest

from services.scheduler import calendar


class Looks:
    """How many days and months calendars have looked at, and how many instants came of them one by one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.days = 0
        self.instants = 0
        look, instants = calendar.Calendar.look, calendar._instants

        def counted(self_: calendar.Calendar, first: date, last: date) -> Iterator[calendar.Look]:
            for one in look(self_, first, last):
                self.days += 1
                yield one

        def produced(base: datetime, bits: int) -> list[datetime]:
            found = instants(base, bits)
            self.instants += len(found)
            return found

        monkeypatch.setattr(calendar.Calendar, "look", counted)
        monkeypatch.setattr(calendar, "_instants", produced)

    def reset(self) -> None:
        self.days = self.instants = 0


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    calendar._calendar.cache_clear()  # what was found before is not looked for again
    return Looks(monkeypatch)
