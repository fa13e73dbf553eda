"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from schemas.base import Value
from schemas.events import BackupAbandoned, DeadSettled

Remedy = DeadSettled | BackupAbandoned  # what to append to solve a problem


class Problem(Value, frozen=True, kw_only=True):
    """Something that is wrong, and its safe remedy, where there is one."""

    text: str
    remedy: Remedy | None = None


class Finding(Value, frozen=True, kw_only=True):
    """What a check found. A note is worth knowing, and nothing to repair."""

    level: Literal["ok", "note", "problem"]
    text: str
    problems: tuple[Problem, ...] = ()


def finding(problems: Iterable[Problem | str], fine: str) -> Finding:
    """Return a problem that names the first problem and counts the others, or `fine`."""
    found = [problem if isinstance(problem, Problem) else Problem(text=problem) for problem in problems]
    if not found:
        return Finding(level="ok", text=fine)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Finding(level="problem", text=found[0].text + more, problems=tuple(found))


def failed(text: str) -> Finding:
    """Return a problem of one problem, without a remedy."""
    return finding([text], "")
