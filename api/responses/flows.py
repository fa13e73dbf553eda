"""Flows, and what is done with them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from api.responses.calendar import OccurrenceOutcome
from api.responses.executions import ExecutionResponse
from schemas.base import Value
from schemas.events import ExcludedVm, ExecutionStatus
from services.explanation.sentences import Sentence
from services.worker.inspection import WorkerSeen


class FlowStatus(Value, frozen=True, kw_only=True):
    """How a flow is doing.

    `next_execution_time` is what will really fire; null when nothing will, and then `next_execution_reason` says why.
    `recent_executions`: how the last ten that have ended did, the newest first.
    """

    last_execution_id: str | None
    last_execution_status: ExecutionStatus
    last_execution_time: datetime | None
    next_execution_time: datetime | None
    next_execution_reason: str | None
    total_executions: int
    successful_executions: int
    failed_executions: int
    recent_executions: list[ExecutionStatus]


class FlowResponse(Value, frozen=True, kw_only=True):
    """A flow, with the names of what it refers to."""

    id: str
    name: str
    description: str
    flow_type: str
    target_type: str
    target_id: str
    target_name: str | None
    repository_id: str | None
    repository_name: str | None
    policy_id: str | None
    policy_name: str | None
    schedule_id: str | None
    schedule_name: str | None
    schedule_cron: str | None
    destination_type: str | None
    destination_config: dict[str, Any] | None
    enabled: bool
    overlap_policy: str
    priority: int
    max_concurrent_jobs: int | None
    labels: dict[str, str]
    created_at: datetime
    updated_at: datetime
    created_by: str
    version: int
    status: FlowStatus


class CreatedFlow(FlowResponse, frozen=True, kw_only=True):
    """A flow that was just created. `warnings`: what would keep it from making backups, as far as workers can see.

    `inspections`: what those workers saw that could look; empty when none could.
    """

    warnings: list[str]
    inspections: list[WorkerSeen]


class FlowList(Value, frozen=True, kw_only=True):
    flows: list[FlowResponse]
    total: int


class FlowNow(Value, frozen=True, kw_only=True):
    """A flow now, and next: the coming ten runs, none when it is disabled or unscheduled.

    `pending_executions` wait for those that run to end. `next_occurrences`: the coming ten that its schedule matches,
    with those that a freeze or an exclusion keeps from being run.
    """

    flow: FlowResponse
    last_execution: ExecutionResponse | None
    running_executions: list[ExecutionResponse]
    pending_executions: list[ExecutionResponse]
    next_run: datetime | None
    next_runs: list[datetime]
    next_occurrences: list[OccurrenceOutcome]


class Summary(Value, frozen=True, kw_only=True):
    """Totals; "today" counts executions that started since midnight in the requested time zone."""

    total_flows: int
    enabled_flows: int
    disabled_flows: int
    backup_flows: int
    replication_flows: int
    total_executions_today: int
    successful_executions_today: int
    failed_executions_today: int


class BulkResponse(Value, frozen=True, kw_only=True):
    """Each flow has its own outcome: how many succeeded and failed, and why those failed."""

    successful: int
    failed: int
    errors: dict[str, str]


class ResolvedVm(Value, frozen=True, kw_only=True):
    """A VM that would be backed up."""

    context_id: str
    vm_name: str


class ExcludedByName(ExcludedVm, frozen=True, kw_only=True):
    """A VM that would be left out; its name is null when there is no such VM."""

    vm_name: str | None


class DryRun(Value, frozen=True, kw_only=True):
    """What running a flow now would do, and what the workers see of its repository and disks. Nothing was appended.

    `inspections`: what each worker that could look saw; empty when none could.
    """

    valid: bool
    errors: list[str]
    warnings: list[str]
    resolved_vms: list[ResolvedVm]
    excluded: list[ExcludedByName]
    next_runs: list[datetime]
    inspections: list[WorkerSeen]


class BackfillResponse(Value, frozen=True, kw_only=True):
    """A backfill, or with `dry_run` what it would be: the occurrences that are executed, in order."""

    backfill_id: str | None
    flow_id: str
    occurrences: list[datetime]
    message: str


class Explanation(Value, frozen=True, kw_only=True):
    """Why a flow ran at an instant, or did not: plain sentences, in order, with the messages that they rest on.

    `lines`: the sentences' texts. `execution_id`: the execution that they are about, None when there was none.
    """

    flow_id: str
    at: datetime
    lines: list[str]
    execution_id: str | None
    sentences: list[Sentence]
