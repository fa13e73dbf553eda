"""Backups over all executions, what waits and what runs, and space in repositories."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from api.responses.executions import JobResponse
from schemas.base import Value
from schemas.events import BackupStatus


class BackupResponse(JobResponse, frozen=True, kw_only=True):
    """A backup, with the flow that it belongs to; none when it was made outside any flow."""

    flow_id: str | None
    flow_name: str


class BackupList(Value, frozen=True, kw_only=True):
    backups: list[BackupResponse]
    total: int


class BackupStats(Value, frozen=True, kw_only=True):
    """Successful backups: how many, their size in the repository in bytes, and when the last one ended."""

    backup_count: int
    total_size_bytes: int
    last_backup_at: datetime | None


class WaitingBackup(Value, frozen=True, kw_only=True):
    backup_id: str
    execution_id: str
    flow_id: str | None
    context_id: str
    priority: int
    since: datetime
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


class Queue(Value, frozen=True, kw_only=True):
    """What waits, in the order in which it is admitted; what runs; the first thousand of each; and the limits."""

    waiting: list[WaitingBackup]
    running: list[RunningBackup]
    limits: dict[str, Any]


class Storage(Value, frozen=True, kw_only=True):
    """A repository's space in bytes; total and free are null where this machine cannot see it."""

    total_bytes: int | None
    free_bytes: int | None
    used_by_backups_bytes: int
    backup_count: int
