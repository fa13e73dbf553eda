"""Negative controls: defects of the past, put back into today's code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from schemas.base import Value


class Defect(Value, frozen=True, kw_only=True):
    """A defect: what it was, how it is put back, and seeds on which the checker sees it."""

    what: str
    restored: Callable[[], AbstractContextManager[None]]
    seeds: tuple[tuple[int, int], ...]  # seed, schedule
    rules: frozenset[str]


DEFECTS: dict[str, Defect] = {}
