"""Executions and their jobs, and statistics over them."""

from __future__ import annotations

from datetime import datetime

from schemas.base import Value
from schemas.events import BackupStatus, ExcludedVm, ExecutionStatus, ExecutionType


class ExecutionResponse(Value, frozen=True, kw_only=True):
    """One run of a flow. While it runs its jobs are counted on request; at its end the log's count stands.

    A `pending` one waits for its turn: `waiting_for` says for what, and `started_at` is null until it begins. Of the
    jobs of one that runs, `jobs_pending` wait for a slot, `jobs_queued` for a worker, and `jobs_running` have begun.

    `created_job_ids` and `excluded` name the first 10,000, in a list of executions the first 40; all jobs are at
    `/executions/{id}/jobs`.
    """

    id: str
    flow_id: str | None
    flow_name: str
    status: ExecutionStatus
    execution_type: ExecutionType
    triggered_by: str
    occurrence: datetime | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    execution_time_seconds: float | None
    jobs_created: int
    jobs_pending: int
    jobs_queued: int
    jobs_running: int
    jobs_completed: int
    jobs_failed: int
    jobs_skipped: int
    vms_processed: int
    bytes_transferred: int
    error_message: str | None
    created_job_ids: list[str]
    excluded: list[ExcludedVm]
    retry_of: str | None
    backfill_id: str | None
    waiting_for: str | None


class ExecutionList(Value, frozen=True, kw_only=True):
    executions: list[ExecutionResponse]
    total: int


class StartedExecution(ExecutionResponse, frozen=True, kw_only=True):
    """An execution that was just asked for by hand: it has begun, or waits for its turn."""

    execution_id: str
    message: str


class JobResponse(Value, frozen=True, kw_only=True):
    """One VM's backup in one execution. `worker_labels`: those that its worker must have, once it is requested."""

    id: str
    execution_id: str
    context_id: str
    vm_name: str
    status: BackupStatus
    attempt: int
    worker: str | None
    bytes_read: int
    bytes_transferred: int
    progress_percent: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    error_message: str | None
    first_error: str | None
    repository_id: str | None
    snapshot_ref: str | None
    worker_labels: dict[str, str]


class JobList(Value, frozen=True, kw_only=True):
    jobs: list[JobResponse]
    total: int


class Bucket(Value, frozen=True, kw_only=True):
    """Executions that began in a day (UTC), or in all: how many ended how, how long they took, what they moved."""

    day: str
    executions: int
    successful: int
    failed: int
    cancelled: int
    success_rate: float | None
    average_seconds: float | None
    bytes_transferred: int


class Statistics(Value, frozen=True, kw_only=True):
    """`total` is over the whole range; totals count each execution once, when it completed."""

    days: list[Bucket]
    total: Bucket
