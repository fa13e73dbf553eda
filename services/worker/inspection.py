"""An inspection: what workers are asked to look at, and what each of them sees. It is beside the log. Pure.

A worker is the one who can see disks and repositories; who asks may run elsewhere. Nothing is read from a disk or
written to a repository for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import structs

from schemas.base import Value
from schemas.definitions import Disk, Setting
from schemas.events import BackupRequested
from schemas.labels import fulfils

SUBJECT = "worker.inspect"  # no subject of the log
MOST = 500  # VMs, and disks, in one inspection

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class InspectedVm(Value, frozen=True, kw_only=True):
    """A VM whose disks are to be looked at, by workers with these labels."""

    context_id: str
    vm_name: str
    disks: list[Disk]
    worker_labels: dict[str, str] = {}


class Inspection(Value, frozen=True, kw_only=True):
    """What is to be looked at: a repository, and disks; where these may be is as in `BackupRequested`.

    By workers with these labels: what others see says nothing.
    """

    engine: str
    location: str
    config: dict[str, Setting]
    vms: list[InspectedVm] = []
    repository_roots: list[str] | None = None
    disk_roots: list[str] | None = None
    block_devices: bool = False
    worker_labels: dict[str, str] = {}

    def seen_with(self, labels: Mapping[str, str]) -> Inspection | None:
        """Return what of it a worker with these labels looks at; None: nothing."""
        if not fulfils(labels, self.worker_labels):
            return None
        return structs.replace(self, vms=[vm for vm in self.vms if fulfils(labels, vm.worker_labels)])

    def request(self, vm: InspectedVm | None = None) -> BackupRequested:
        """Return the request that a worker would have for a VM, or for one without disks."""
        vm = vm or InspectedVm(context_id="inspection", vm_name="inspection", disks=[])
        return BackupRequested(
            flow_id="inspection",
            execution_id="inspection",
            backup_id="inspection",
            context_id=vm.context_id,
            vm_name=vm.vm_name,
            disks=vm.disks,
            repository_id="inspection",
            engine=self.engine,
            location=self.location,
            config=self.config,
            backup_type="auto",
            retry_attempts=0,
            retry_delay_seconds=0,
            timeout_seconds=None,
            requested_at=_EPOCH,
            disk_roots=self.disk_roots,
            repository_roots=self.repository_roots,
            block_devices=self.block_devices,
        )


class RepositoryState(Value, frozen=True, kw_only=True):
    """A repository as a worker sees it. `problem`: why no backup could be made there; None when one could.

    Sizes in bytes; None where they mean nothing, or could not be found.
    """

    there: bool = False
    writable: bool = False
    total_bytes: int | None = None
    free_bytes: int | None = None
    problem: str | None = None


class Seen(Value, frozen=True, kw_only=True):
    """What an engine has seen. `disk_problems`: a line for each disk that could not be read."""

    repository: RepositoryState
    disk_problems: list[str] = []

    @property
    def well(self) -> bool:
        return self.repository.problem is None and not self.disk_problems


class WorkerSeen(Seen, frozen=True, kw_only=True):
    """What a worker has seen; `worker` is its name."""

    worker: str
