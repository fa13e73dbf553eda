"""Which worker the log knows by a name, as it is now: for whoever may not be behind."""

from __future__ import annotations

from bus.envelope import Stored
from bus.log import Log
from bus.subjects import WORKERS
from schemas.events import WorkerDefined
from schemas.workers import Worker


async def worker_named(log: Log, name: str) -> Worker | None:
    """Return an enrolled worker, or one that may enrol itself; None when there is none. Raises `Unavailable`.

    Of all that is said of it the highest version counts. What comes last need not be true: a worker may have the server
    append what is on the log already once more, as it was when it was not revoked yet, or what nobody can read.
    """
    entries = await log.after(WORKERS.replace("*", name), 0)
    said = [entry.envelope.data for entry in entries if isinstance(entry, Stored)]
    found = [one.definition for one in said if isinstance(one, WorkerDefined) and one.definition is not None]
    return max((one for one in found if one.id == name), key=lambda one: one.version, default=None)
