"""Backups over all executions, what waits and what runs, and space in repositories."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from api.responses.executions import JobResponse, StartedExecution
from schemas.base import Value
from schemas.events import BackupStatus, ExecutionType

Copy = Literal["full", "incremental"]
ListedStatus = Literal["completed", "failed", "running"]

# in a list, the words of existing clients: what is none of these runs, or will
COMPLETED: tuple[BackupStatus, ...] = ("success",)
FAILED: tuple[BackupStatus, ...] = ("error", "cancelled", "skipped")


class BackupResponse(JobResponse, frozen=True, kw_only=True):
    """A backup, with the flow that it belongs to; none when it was made outside any flow.

    `backup_id` is its `id`, `result` its status, `type` and `backup_type` the kind of copy. `total_bytes`: what was
    read of the VM's disks, at its end all of them. `disks_count`: how many disks it was asked for, 0 before that.
    """

    backup_id: str
    flow_id: str | None
    flow_name: str
    type: Copy
    backup_type: Copy
    total_bytes: int
    disks_count: int
    result: BackupStatus


class ListedBackup(BackupResponse, frozen=True, kw_only=True):
    """A backup in a list: its `status` is in the words of existing clients, and our own word is its `result`."""

    status: ListedStatus  # type: ignore[assignment]


class StartedBackup(StartedExecution, frozen=True, kw_only=True):
    """A backup outside any flow that was just asked for; null when its VM is disabled: then nothing is backed up.

    `backup` is null, too, once its history is no longer kept.
    """

    backup_id: str | None
    backup: BackupResponse | None


class BackupList(Value, frozen=True, kw_only=True):
    backups: list[ListedBackup]
    total: int


class BackupStats(Value, frozen=True, kw_only=True):
    """Successful backups: how many, their size in the repository in bytes, and when the last one ended."""

    backup_count: int
    total_size_bytes: int
    last_backup_at: datetime | None


class Workers(Value, frozen=True, kw_only=True):
    """The workers that are there, and how many backups they run at once, and could run besides."""

    number: int
    slots: int
    free_slots: int


class WaitingBackup(Value, frozen=True, kw_only=True):
    """A backup that no worker has begun: it waits for a slot (`pending`), or has one and waits for a worker (`queued`).

    `attempt`: the last one that was made, when it waits for another. `worker_labels`: those that its worker must have,
    once it has a slot.
    """

    backup_id: str
    execution_id: str
    flow_id: str | None
    context_id: str
    priority: int
    since: datetime
    status: BackupStatus
    attempt: int
    worker_labels: dict[str, str]
    waiting_for: str


class RunningBackup(Value, frozen=True, kw_only=True):
    backup_id: str
    execution_id: str
    flow_id: str | None
    context_id: str
    priority: int
    since: datetime
    status: BackupStatus
    attempt: int
    progress_percent: int


class PendingExecution(Value, frozen=True, kw_only=True):
    """An execution that waits for its turn: which VMs it backs up is decided when it begins."""

    execution_id: str
    flow_id: str
    flow_name: str
    execution_type: ExecutionType
    triggered_by: str
    occurrence: datetime | None
    priority: int
    since: datetime
    waiting_for: str


class Queue(Value, frozen=True, kw_only=True):
    """Executions that wait for their turn; backups that wait, those that have a slot first; what runs; and the limits.

    Each is in the order in which it goes on, and has a thousand at most. `workers` is null when it cannot be seen which
    are there.
    """

    pending: list[PendingExecution]
    waiting: list[WaitingBackup]
    running: list[RunningBackup]
    workers: Workers | None
    limits: dict[str, Any]
