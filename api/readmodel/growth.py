"""How a repository grows, and when it is full: a line through its days that outliers do not bend. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from statistics import median

from api.responses.repositories import StorageDay

FEWEST = 3  # days of which a line is made
FARTHEST = 3_653  # days ahead: what is later is said of nobody's repository


def per_day(history: Sequence[StorageDay]) -> float | None:
    """Return by how many bytes a repository grows a day, from its first backup on; None when too little is known."""
    return slope([float(one.stored_bytes) for one in history if one.stored_bytes])


def slope(values: Sequence[float]) -> float | None:
    """Return by how much values grow from one to the next: the median of the slopes of all pairs (Theil and Sen).

    None when they are too few. Up to a quarter of them may be anything, and the line stays where it is.
    """
    if len(values) < FEWEST:
        return None
    return median(
        (later - earlier) / (number - place)
        for place, earlier in enumerate(values)
        for number, later in enumerate(values[place + 1 :], start=place + 1)
    )


def full_on(today: date, free: int | None, per_day: float | None) -> date | None:
    """Return the day on which free bytes are taken at a rate; None when that is never, far ahead or not known."""
    if free is None or per_day is None or per_day <= 0 or free / per_day > FARTHEST:
        return None
    return today + timedelta(days=int(max(free, 0) // per_day))
