"""Fields that had another name. Old messages of the log, and people, may use it for ever. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

OF_SCHEDULES = {"spread_seconds": "jitter_seconds"}

_PARTS = ("definition", "spec", "patch")  # of a message: what holds the fields of a schedule


def renamed(fields: Mapping[str, Any], names: Mapping[str, str] = OF_SCHEDULES) -> dict[str, Any]:
    """Return fields under their present names. What is there under its present name already is left as it is."""
    found = dict(fields)
    for old, present in names.items():
        if old in found and present not in found:
            found[present] = found.pop(old)
    return found


def renamed_in(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message's data about a schedule with its fields under their present names."""
    return {
        name: renamed(cast("dict[str, Any]", value)) if name in _PARTS and isinstance(value, dict) else value
        for name, value in data.items()
    }


def has_old_names(body: bytes) -> bool:
    """Tell whether a message's body may have a field under its old name."""
    return any(f'"{old}"'.encode() in body for old in OF_SCHEDULES)
