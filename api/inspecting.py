"""Asking the workers to look at a repository and at disks: only they can see them. They have a short time for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bus.errors import Unavailable
from bus.log import Log
from services.worker.inspection import SUBJECT, Inspection, WorkerSeen

PATIENCE = 2.0  # seconds that workers have
LULL = 0.3  # seconds that the others have when one has replied

NOBODY = "no worker could look at the repository and the disks, so whether they are there is not known"


async def inspect(log: Log, inspection: Inspection, *, everyone: bool = False) -> list[WorkerSeen]:
    """Return what workers see. Unless `everyone` is asked, it is enough that one of them sees all well.

    Empty when no worker replies in time.
    """

    def enough(replies: Sequence[bytes]) -> bool:
        return not everyone and bool(replies) and _decoded(replies[-1:])[0].well

    body = msgspec.json.encode(inspection)
    try:
        replies = await log.request_many(SUBJECT, body, patience=PATIENCE, lull=LULL, enough=enough)
    except Unavailable:
        return []
    return sorted(_decoded(replies), key=lambda one: one.worker)


def _decoded(replies: Sequence[bytes]) -> list[WorkerSeen]:
    return [msgspec.json.decode(reply, type=WorkerSeen) for reply in replies]


def warnings(seen: Sequence[WorkerSeen] | None) -> list[str]:
    """Return what is wrong with a repository and with disks, each once, with the workers who see it so.

    None: nothing was there to be looked at.
    """
    if seen is None:
        return []
    if not seen:
        return [NOBODY]
    found: dict[str, list[str]] = {}
    for one in seen:
        problems = [one.repository.problem] if one.repository.problem else []
        for problem in (*problems, *one.disk_problems):
            found.setdefault(problem, []).append(one.worker)
    return [f"{problem} (so says worker {', '.join(workers)})" for problem, workers in found.items()]


def unusable(seen: Sequence[WorkerSeen] | None) -> str | None:
    """Return why no worker that looked could use a repository; None when one could, or none looked."""
    problems = [one.repository.problem for one in seen or ()]
    return problems[0] if problems and all(problems) else None
