"""Pools: the workers that requests with labels are for, each with a queue of its own. Pure.

There is one for each set of labels that a request on the log requires and that has not ended, as the part `setup` finds
them there. It publishes them beside the log, and each worker takes from the queues of those whose labels it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from bus.checkpoint import Status
from bus.envelope import Entry, Stored
from bus.identities import POOLS
from bus.stream import Queue, queue_of
from schemas.base import Value
from schemas.events import BackupRequested
from schemas.labels import Requirement, fulfils

KEY = POOLS  # of the status with all of them
READS = ("backup.requested.*.*",)
IDLE = timedelta(hours=1)  # since the last request, until a pool without any goes


class Pool(Value, frozen=True, kw_only=True):
    """The workers that have these labels. `last`: the sequence of the last request for them, and `at`: when it came."""

    labels: Requirement
    last: int
    at: datetime


class Pools:
    """Pools by id, folded from requests. `evolve` changes it in place."""

    def __init__(self) -> None:
        self.known: dict[str, Pool] = {}

    def evolve(self, entry: Entry) -> bool:
        """Take in a request; return whether its pool is new."""
        if not isinstance(entry, Stored) or not isinstance(request := entry.envelope.data, BackupRequested):
            return False
        if request.pool is None:
            return False
        new = request.pool not in self.known
        at = entry.envelope.time
        self.known[request.pool] = Pool(labels=request.worker_labels, last=entry.sequence, at=at)
        return new

    def queues(self, start: int) -> list[Queue]:
        """Return their queues. All requests before `start` are over."""
        return [queue_of(pool, start) for pool in self.known]

    def idle(self, at: datetime) -> dict[str, Pool]:
        """Return those that nobody has requested anything of for a while."""
        return {id_: pool for id_, pool in self.known.items() if at - pool.at > IDLE}

    def forget(self, id_: str, pool: Pool) -> bool:
        """Drop a pool, unless there was a request since; return whether it is gone."""
        if self.known.get(id_) != pool:
            return False
        del self.known[id_]
        return True

    def published(self) -> dict[str, dict[str, str]]:
        """Return the status that says which there are: labels by id."""
        return {id_: pool.labels for id_, pool in self.known.items()}


def queues_for(status: Status | None, labels: Mapping[str, str]) -> list[Queue]:
    """Return the queues that a worker with these labels takes from, by the published status (None: there is none)."""
    mine = (pool for pool, required in sorted(labels_of(status).items()) if fulfils(labels, required))
    return [queue_of(None), *map(queue_of, mine)]


def labels_of(status: Status | None) -> dict[str, dict[str, str]]:
    """Return the labels of each pool, by its id, as the status says that is published (None: there is none)."""
    try:
        return {} if status is None else msgspec.convert(status.value, dict[str, dict[str, str]])
    except msgspec.ValidationError:
        return {}  # of another version
