"""Bounds of time: every datetime in a shape lies in the years that `schemas/base.py` allows. Pure.

A constraint of msgspec can ask for a time zone and not for a year. So what has been decoded is looked through for
datetimes, and only where its shape may have some: this is done for every message of the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from functools import cache
from typing import Any, cast

from msgspec import Struct, inspect

from schemas.base import FIRST_YEAR, LAST_YEAR


def out_of_bounds(value: Any) -> datetime | None:
    """Return the first datetime in a decoded value that is out of bounds, None when there is none."""
    if isinstance(value, datetime):
        return None if FIRST_YEAR <= value.year <= LAST_YEAR else value
    parts: Iterable[Any] = ()
    if isinstance(value, Struct):
        parts = [getattr(value, field) for field in timed_fields(type(value))]
    elif isinstance(value, list | tuple):
        parts = cast("Iterable[Any]", value)
    for part in parts:
        if (found := out_of_bounds(part)) is not None:
            return found
    return None


def beyond_bounds(at: date) -> str:
    """Return what is wrong with a date or a datetime that is out of bounds."""
    return f"{at.isoformat()} is out of bounds: the year must lie between {FIRST_YEAR} and {LAST_YEAR}"


@cache
def timed_fields(shape: type[Struct]) -> tuple[str, ...]:
    """Return the fields of a shape in which there may be a datetime."""
    info = inspect.type_info(shape)
    assert isinstance(info, inspect.StructType)
    return tuple(field.name for field in info.fields if _timed(field.type))


def _timed(info: inspect.Type) -> bool:
    match info:
        case inspect.DateTimeType():
            return True
        case inspect.StructType():
            return bool(timed_fields(info.cls))
        case inspect.UnionType(types=types):
            return any(map(_timed, types))
        case inspect.ListType() | inspect.VarTupleType():
            return _timed(info.item_type)
        case inspect.Metadata():
            return _timed(info.type)
        case _:
            return False
