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
