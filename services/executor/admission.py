"""Admission: which waiting backups may start now. One pure function over what the log says is in flight.

Order: higher priority first, then the older execution, then the plan's order. A slot is what has been requested and has
not ended; it is never counted in a variable of its own, so no crash can leak one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from schemas.base import Value
from schemas.events import PlannedBackup


class Queue(Value, frozen=True, kw_only=True):
    """The waiting backups of one execution, in the plan's order, and its claims."""

    execution_id: str
    flow_id: str
    repository_id: str
    priority: int
    limit: int | None  # backups of the flow that may run at once
    waiting: Iterable[PlannedBackup]


class InFlight:
    """What is requested and not yet ended: backups by flow and repository, and the VMs they keep busy."""

    def __init__(self) -> None:
        self.by_flow: dict[str, set[str]] = {}
        self.by_repository: dict[str, set[str]] = {}
        self.vms: dict[str, str] = {}
        self._backups: set[str] = set()

    @property
    def total(self) -> int:
        return len(self._backups)

    def add(self, flow_id: str, repository_id: str, backup: PlannedBackup) -> None:
        self.by_flow.setdefault(flow_id, set()).add(backup.backup_id)
        self.by_repository.setdefault(repository_id, set()).add(backup.backup_id)
        self.vms[backup.context_id] = backup.backup_id
        self._backups.add(backup.backup_id)

    def remove(self, flow_id: str, repository_id: str, backup: PlannedBackup) -> None:
        self.by_flow[flow_id].discard(backup.backup_id)
        self.by_repository[repository_id].discard(backup.backup_id)
        if self.vms.get(backup.context_id) == backup.backup_id:
            del self.vms[backup.context_id]
        self._backups.discard(backup.backup_id)


def admit(
    queues: Iterable[Queue],
    in_flight: InFlight,
    *,
    repository_limit: Callable[[str], int | None],
    total_limit: int | None,
    most: int,
) -> list[tuple[Queue, PlannedBackup]]:
    """Return the backups to request now, at most `most`, in order. A limit of None is no limit.

    A VM is backed up by one flow at a time; a busy one does not hold up those behind it.
    """
    admitted: list[tuple[Queue, PlannedBackup]] = []
    flows: dict[str, int] = {}
    repositories: dict[str, int] = {}
    vms: set[str] = set()

    for queue in sorted(queues, key=lambda queue: -queue.priority):  # sorted() keeps the order of equals: by age
        allowed = repository_limit(queue.repository_id)
        for backup in queue.waiting:
            if len(admitted) >= most or _full(in_flight.total + len(admitted), total_limit):
                return admitted
            in_flow = len(in_flight.by_flow.get(queue.flow_id, ())) + flows.get(queue.flow_id, 0)
            in_repository = len(in_flight.by_repository.get(queue.repository_id, ())) + repositories.get(
                queue.repository_id, 0
            )
            if _full(in_flow, queue.limit) or _full(in_repository, allowed):
                break
            if backup.context_id in in_flight.vms or backup.context_id in vms:
                continue
            admitted.append((queue, backup))
            flows[queue.flow_id] = flows.get(queue.flow_id, 0) + 1
            repositories[queue.repository_id] = repositories.get(queue.repository_id, 0) + 1
            vms.add(backup.context_id)
    return admitted


def _full(taken: int, limit: int | None) -> bool:
    return limit is not None and taken >= limit
