"""What the backups of one execution waited for, by the executor's own rule of admission. Pure.

A slot is given in the same decision that follows its release. So what stood in the way just before a release is what
the next request had waited for.
"""

from __future__ import annotations

from collections.abc import Collection

from bus.envelope import Stored
from schemas.base import Value
from schemas.events import (
    AttemptEvent,
    BackupCancelled,
    BackupCompleted,
    BackupEvent,
    BackupFailed,
    BackupRequested,
    BackupSkipped,
    BackupStarted,
    FlowCompleted,
    FlowStarted,
    PlannedBackup,
    RepositoryDefined,
    SettingsDefined,
)
from services.executor.admission import Claim, Limits, Obstacle, Slots, obstacle
from services.explanation.definitions import Definitions


class Holder(Value, frozen=True, kw_only=True):
    """A backup that has a slot."""

    flow_id: str
    execution_id: str
    repository_id: str
    backup: PlannedBackup
    requested: Stored


class Wait(Value, frozen=True, kw_only=True):
    """What a backup waited for, or still does (`until` is None): the obstacle, and the message that removed it.

    `holder`: who had the slot, or the VM, that became free; or who has the VM now.
    """

    obstacle: Obstacle
    until: Stored | None = None
    holder: Holder | None = None


class Admission:
    """The slots of all flows, seen from one execution. `take` changes it in place."""

    def __init__(self, definitions: Definitions, started: Stored, terms: FlowStarted) -> None:
        self._definitions = definitions
        self._slots = Slots()
        self._holders: dict[str, Holder] = {}  # by backup
        self._attempts: dict[str, int] = {}  # by backup: the newest one
        self._released: Wait | None = None  # the last release of a slot that all waited for
        self._vms: dict[str, Wait] = {}  # by VM: the last release of it
        self._position: int = 0  # of the last message that is no request
        self._decided: int = 0  # the position that the last requests followed
        self._before: int = 0  # the one that those before them followed
        self._claim = Claim(
            execution_id=terms.execution_id,
            flow_id=terms.flow_id,
            repository_id=terms.repository_id,
            urgency=started.envelope.time,
            limit=terms.max_concurrent_jobs,
            waiting=(),
        )

    def take(self, entry: Stored, waiting: Collection[str]) -> None:
        """Take in a message. `waiting`: the VMs of the execution that wait for a slot."""
        data = entry.envelope.data
        match data:
            case BackupRequested():
                self._request(entry, data)
                return
            case BackupStarted():
                self._attempts[data.backup_id] = max(self._attempts.get(data.backup_id, 0), data.attempt)
            case BackupCompleted() | BackupFailed() | BackupCancelled() | BackupSkipped():
                if not (isinstance(data, AttemptEvent) and data.attempt < self._attempts.get(data.backup_id, 0)):
                    self._end(entry, data, waiting)
            case FlowCompleted():
                for id_ in [id_ for id_, one in self._holders.items() if one.execution_id == data.execution_id]:
                    self._remove(id_)
            case RepositoryDefined() | SettingsDefined() if waiting:
                self._note(entry, None)
            case _:
                pass
        self._position = entry.sequence

    def waited_for(self, context_id: str) -> Wait | None:
        """Return what the backup of a VM, just requested, had waited for; None when that is not known."""
        of_vm = self._vms.get(context_id)
        for wait in (of_vm, self._released):
            if wait is not None and wait.until is not None and wait.until.sequence > self._before:
                return wait
        return of_vm

    def waits_for(self, context_id: str) -> Wait | None:
        """Return what stands in the way of a backup of a VM now, None when nothing does."""
        found = self._obstacle(context_id, self._position)
        return None if found is None else Wait(obstacle=found, holder=self._holders.get(found.holder))

    def _request(self, entry: Stored, event: BackupRequested) -> None:
        if self._position != self._decided:
            self._before, self._decided = self._decided, self._position
        if event.backup_id in self._holders:
            return
        backup = PlannedBackup(backup_id=event.backup_id, context_id=event.context_id, vm_name=event.vm_name)
        self._holders[event.backup_id] = Holder(
            flow_id=event.flow_id,
            execution_id=event.execution_id,
            repository_id=event.repository_id,
            backup=backup,
            requested=entry,
        )
        self._slots.add(event.flow_id, event.repository_id, backup)

    def _end(self, entry: Stored, event: BackupEvent, waiting: Collection[str]) -> None:
        holder = self._holders.get(event.backup_id)
        if holder is None:
            return
        if waiting:
            self._note(entry, holder)
            if event.context_id in waiting:
                busy = Obstacle(kind="vm", holder=event.backup_id)
                self._vms[event.context_id] = Wait(obstacle=busy, until=entry, holder=holder)
        self._remove(event.backup_id)

    def _note(self, entry: Stored, holder: Holder | None) -> None:
        """Keep what stands in the way of all that wait, before a message removes it."""
        found = self._obstacle("", entry.sequence - 1)
        if found is not None:
            self._released = Wait(obstacle=found, until=entry, holder=holder)

    def _remove(self, backup_id: str) -> None:
        holder = self._holders.pop(backup_id)
        self._slots.remove(holder.flow_id, holder.repository_id, holder.backup)
        self._attempts.pop(backup_id, None)

    def _obstacle(self, context_id: str, sequence: int) -> Obstacle | None:
        def of_repository(id_: str) -> int | None:
            repository = self._definitions.repository(id_, sequence)
            return repository.max_concurrent_jobs if repository else None

        limits = Limits(of_repository=of_repository, total=self._definitions.settings(sequence).max_concurrent_jobs)
        return obstacle(self._claim, context_id, self._slots, limits)
