"""Events that several tests of the API begin with."""

from __future__ import annotations

from datetime import datetime

from schemas import events as e
from tests.support import T0


def started(execution_id: str, jobs: int, occurrence: datetime = T0) -> e.FlowStarted:
    return e.FlowStarted(
        flow_id="flow-1",
        execution_id=execution_id,
        flow_name="flow-1",
        flow_version=1,
        execution_type="scheduled",
        triggered_by="schedule-1",
        occurrence=occurrence,
        overlap_policy="allow",
        repository_id="repo-1",
        policy_id=None,
        priority=0,
        max_concurrent_jobs=None,
        jobs=jobs,
        parts=1,
    )


def completed(execution_id: str, at: datetime, status: e.ExecutionStatus = "success") -> e.FlowCompleted:
    """The end, at once, of an execution that began at `at`."""
    return e.FlowCompleted(
        flow_id="flow-1",
        execution_id=execution_id,
        status=status,
        started_at=at,
        completed_at=at,
        jobs_created=0,
        jobs_completed=0,
        jobs_failed=0,
        jobs_skipped=0,
        bytes_transferred=0,
        error_message=None,
    )
