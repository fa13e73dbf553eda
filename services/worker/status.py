"""What each worker publishes beside the log every few seconds: that it is alive, and which backups it holds. Pure.

A status is no fact. It only keeps a worker from taking what another one is at work on; that nothing counts twice is the
log's doing. Ages are by the server's clock alone, so they do not depend on any worker's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

import msgspec

from bus.checkpoint import Status
from schemas.base import Value
from schemas.labels import fulfils
from services.worker.domain import Attempt

PREFIX = "worker."


class WorkerStatus(Value, frozen=True, kw_only=True):
    """One worker. `slots`: 0 when it is to end, and takes nothing more.

    `position`: how far on the log its reports have been read when it published what it holds. `enrolment`: the name
    that it is enrolled by, None when it has no identity of its own.
    """

    slots: int
    holding: list[str]  # ids of backups
    engines: list[str]
    position: int
    labels: dict[str, str] = {}
    enrolment: str | None = None

    @property
    def free(self) -> int:
        """How many more backups it would take."""
        return max(0, self.slots - len(self.holding))

    def may_serve(self, required: Mapping[str, str], engine: str | None = None) -> bool:
        """Tell whether it has the labels that a backup requires, and its engine (None: whichever)."""
        return fulfils(self.labels, required) and (engine is None or engine in self.engines)


class Seen(Value, frozen=True, kw_only=True):
    """What a worker has published last, and when, by the server's clock. `name`: its id, as it is in the key."""

    name: str
    at: datetime
    status: WorkerStatus

    @property
    def enrolment(self) -> str | None:
        """The name that it is enrolled by. Only who is may publish under a key that begins with it."""
        name = self.status.enrolment
        return name if name and self.name.startswith(f"{name}.") else None

    @property
    def process(self) -> str:
        """Its host and process id."""
        return self.name if self.enrolment is None else self.name.removeprefix(f"{self.enrolment}.")


def key_of(worker: str) -> str:
    """Return the key of a worker's status."""
    return PREFIX + re.sub(r"[^-\w.]", "_", worker, flags=re.ASCII)


def silent_in(attempt: Attempt, backup_id: str, status: Status | None, *, now: datetime, lease: float) -> float:
    """Return in how many seconds the worker that makes an attempt will have been silent for longer than its lease.

    0 or less: it is silent already, or says itself that it does not hold the backup.
    """
    published = None if status is None else _decoded(status)
    if status is None or published is None:
        return 0.0
    if published.position >= attempt.sequence and backup_id not in published.holding:
        return 0.0
    return lease - (now - status.at).total_seconds()


def live(statuses: Mapping[str, Status], *, now: datetime, lease: float) -> list[WorkerStatus]:
    """Return the workers that have not been silent for longer than their lease, those that are to end too."""
    return [one.status for one in seen(statuses) if (now - one.at).total_seconds() <= lease]


def seen(statuses: Mapping[str, Status]) -> list[Seen]:
    """Return what all workers have published, those that have been silent for long too, by name."""
    found = ((key.removeprefix(PREFIX), status.at, _decoded(status)) for key, status in sorted(statuses.items()))
    return [Seen(name=name, at=at, status=status) for name, at, status in found if status is not None]


def held(statuses: Mapping[str, Status], *, now: datetime, lease: float) -> frozenset[str]:
    """Return the ids of the backups that some live worker holds."""
    workers = live(statuses, now=now, lease=lease)
    return frozenset(backup_id for published in workers for backup_id in published.holding)


def _decoded(status: Status) -> WorkerStatus | None:
    try:
        return msgspec.convert(status.value, WorkerStatus)
    except msgspec.ValidationError:
        return None
