"""What was looked at, and how it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from schemas.base import Value
from schemas.events import BackupAbandoned, DeadSettled

Remedy = DeadSettled | BackupAbandoned  # what to append, so that a fault is none any more


class Fault(Value, frozen=True, kw_only=True):
    """Something that should not be, and what can safely be done about it, where there is something."""

    text: str
    remedy: Remedy | None = None


class Finding(Value, frozen=True, kw_only=True):
    """What was looked at, and how it is. A note is worth knowing, and nothing to repair."""

    level: Literal["ok", "note", "problem"]
    text: str
    faults: tuple[Fault, ...] = ()


def finding(faults: Iterable[Fault | str], fine: str) -> Finding:
    """Return a problem that names the first fault and counts the others, or `fine`."""
    found = [fault if isinstance(fault, Fault) else Fault(text=fault) for fault in faults]
    if not found:
        return Finding(level="ok", text=fine)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Finding(level="problem", text=found[0].text + more, faults=tuple(found))


def problem(text: str) -> Finding:
    """Return a problem of one fault, without a remedy."""
    return finding([text], "")
