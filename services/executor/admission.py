"""Admission: which waiting backups may start now. One pure function over what is in flight on the log.

A slot is what has been requested and has not ended; it is never counted in a variable of its own, so no crash can leak
one. The oldest goes first, and rank is a head start in age: what was started by hand and what has a higher priority
goes before all that is not much older. So nothing starves, whatever comes later (docs/adr/0004).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Literal

from schemas.base import Value
from schemas.events import PlannedBackup

MANUAL_AHEAD = timedelta(days=30)  # more than the whole range of priorities (-1000 to 1000)
PRIORITY_AHEAD = timedelta(minutes=15)  # for each point


class Claim(Value, frozen=True, kw_only=True):
    """One execution's claim to slots: its waiting backups, in the plan's order, and its rank."""

    execution_id: str
    flow_id: str
    repository_id: str
    urgency: datetime
    limit: int | None  # backups of the flow that may run at once
    waiting: Iterable[PlannedBackup]


class Limits(Value, frozen=True, kw_only=True):
    """How many backups may be in flight in one repository, and in all. None is no limit."""

    of_repository: Callable[[str], int | None]
    total: int | None


class Obstacle(Value, frozen=True, kw_only=True):
    """What a backup waits for: a slot (`taken` of `limit`), or its VM, which `holder` (a backup) keeps busy."""

    kind: Literal["total", "flow", "repository", "vm"]
    taken: int = 0
    limit: int = 0
    holder: str = ""


class Slots:
    """What is requested and not yet ended: backups by flow and repository, and the VMs they keep busy."""

    def __init__(self) -> None:
        self.total = 0
        self.by_flow: Counter[str] = Counter()
        self.by_repository: Counter[str] = Counter()
        self.vms: dict[str, str] = {}  # by VM: its backup
        self._below: Mapping[str, str] = {}  # those of what this is a draft of

    def add(self, flow_id: str, repository_id: str, backup: PlannedBackup) -> None:
        self.total += 1
        self.by_flow[flow_id] += 1
        self.by_repository[repository_id] += 1
        self.vms[backup.context_id] = backup.backup_id

    def remove(self, flow_id: str, repository_id: str, backup: PlannedBackup) -> None:
        self.total -= 1
        self.by_flow[flow_id] -= 1
        self.by_repository[repository_id] -= 1
        if self.vms.get(backup.context_id) == backup.backup_id:
            del self.vms[backup.context_id]

    def holder(self, context_id: str) -> str | None:
        """Return the backup that keeps a VM busy."""
        return self.vms.get(context_id) or self._below.get(context_id)

    def draft(self) -> Slots:
        """Return a copy to add to, to try things out."""
        copy = Slots()
        copy.total = self.total
        copy.by_flow = self.by_flow.copy()
        copy.by_repository = self.by_repository.copy()
        copy._below = self.vms
        return copy


def urgency(since: datetime, *, manual: bool, priority: int) -> datetime:
    """Return the rank of an execution that began at `since`: the earlier goes first."""
    return since - priority * PRIORITY_AHEAD - (MANUAL_AHEAD if manual else timedelta())


def obstacle(claim: Claim, context_id: str, slots: Slots, limits: Limits) -> Obstacle | None:
    """Return what keeps a backup of a VM from starting, None when nothing does."""
    if limits.total is not None and slots.total >= limits.total:
        return Obstacle(kind="total", taken=slots.total, limit=limits.total)
    taken = slots.by_flow[claim.flow_id]
    if claim.limit is not None and taken >= claim.limit:
        return Obstacle(kind="flow", taken=taken, limit=claim.limit)
    taken, limit = slots.by_repository[claim.repository_id], limits.of_repository(claim.repository_id)
    if limit is not None and taken >= limit:
        return Obstacle(kind="repository", taken=taken, limit=limit)
    if holder := slots.holder(context_id):
        return Obstacle(kind="vm", holder=holder)
    return None


def admit(claims: Iterable[Claim], in_flight: Slots, limits: Limits, *, most: int) -> list[tuple[Claim, PlannedBackup]]:
    """Return the backups to request now, at most `most`, in order.

    A VM is backed up by one flow at a time; a busy one does not hold up those behind it.
    """
    admitted: list[tuple[Claim, PlannedBackup]] = []
    slots = in_flight.draft()
    for claim in sorted(claims, key=lambda claim: claim.urgency):  # sorted() keeps the order of equals
        for backup in claim.waiting:
            if len(admitted) >= most:
                return admitted
            found = obstacle(claim, backup.context_id, slots, limits)
            if found is None:
                admitted.append((claim, backup))
                slots.add(claim.flow_id, claim.repository_id, backup)
            elif found.kind == "total":
                return admitted
            elif found.kind != "vm":
                break
    return admitted
