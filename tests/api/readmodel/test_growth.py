"""How a repository grows, and when it is full."""

from __future__ import annotations

from datetime import date

import pytest

from api.readmodel.growth import FARTHEST, full_on, per_day, slope
from api.responses.repositories import StorageDay

TODAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], None),
        ([1.0, 2.0], None),
        ([5.0, 5.0, 5.0], 0.0),
        ([10.0, 20.0, 30.0, 40.0], 10.0),
        ([40.0, 30.0, 20.0], -10.0),
        # one day with a hundred times as much does not bend the line
        ([10.0, 20.0, 30.0, 1_030.0, 1_040.0, 1_050.0, 1_060.0, 1_070.0, 1_080.0, 1_090.0], 10.0),
        ([10.0, 20.0, 0.0, 40.0, 50.0, 60.0, 70.0], 10.0),
    ],
)
def test_the_line(values: list[float], found: float | None) -> None:
    assert slope(values) == found


@pytest.mark.parametrize(
    ("free", "rate", "day"),
    [
        (100, 10.0, date(2026, 11, 30)),
        (105, 10.0, date(2026, 11, 30)),
        (0, 10.0, TODAY),
        (None, 10.0, None),
        (100, None, None),
        (100, 0.0, None),
        (100, -3.0, None),
        (100, 100 / (FARTHEST + 1), None),
    ],
)
def test_the_day_on_which_it_is_full(free: int | None, rate: float | None, day: date | None) -> None:
    assert full_on(TODAY, free, rate) == day


def test_the_days_before_the_first_backup_say_nothing() -> None:
    sizes = [0, 0, 0, 0, 0, 0, 10, 20, 30]
    history = [StorageDay(day=str(number), backups=1, bytes=1, stored_bytes=size) for number, size in enumerate(sizes)]
    assert per_day(history) == 10.0
