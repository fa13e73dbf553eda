"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from schemas.base import Value
from schemas.events import BackupAbandoned, DeadSettled

Remedy = DeadSettled | BackupAbandoned  # what to append to solve a problem


class Issue(Value, frozen=True, kw_only=True):
    """Something that is wrong, and its safe remedy, where there is one."""

    text: str
    remedy: Remedy | None = None


class Finding(Value, frozen=True, kw_only=True):
    """What a check found. A note is worth knowing, and nothing to repair.

    `passing`: a running engine sees to it by itself, so of one that does not run it is no problem.
    """

    level: Literal["ok", "note", "problem"]
    text: str
    issues: tuple[Issue, ...] = ()
    passing: bool = False


def finding(issues: Iterable[Issue | str], fine: str, *, passing: bool = False) -> Finding:
    """Return a finding that names the first issue and counts the others, or `fine`."""
    found = [issue if isinstance(issue, Issue) else Issue(text=issue) for issue in issues]
    if not found:
        return Finding(level="ok", text=fine)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Finding(level="problem", text=found[0].text + more, issues=tuple(found), passing=passing)


def failed(text: str, *, passing: bool = False) -> Finding:
    """Return a finding of one issue, without a remedy."""
    return finding([text], "", passing=passing)
