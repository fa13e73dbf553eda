"""An execution that fails, and one that is skipped, as the log tells them."""

from __future__ import annotations

from datetime import timedelta

from bus.log import Identity
from schemas.events import (
    BackupCompleted,
    BackupFailed,
    BackupRequested,
    FlowBuffered,
    FlowCompleted,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    PlannedBackup,
)
from tests.support import T0, flow, group, repository, vm

STREAM = Identity(created="then", last_sequence=1_000_000)
IN = {"flow_id": "flow-1", "execution_id": "x"}
ABOUT = {**IN, "backup_id": "b", "context_id": "vm-1"}

STARTED = FlowStarted(
    **IN,
    flow_name="flow-1",
    flow_version=1,
    execution_type="manual",
    triggered_by="eve",
    occurrence=None,
    overlap_policy="skip",
    repository_id="repo-1",
    policy_id=None,
    priority=0,
    max_concurrent_jobs=None,
    jobs=1,
    parts=1,
)
PLANNED = FlowPlanned(
    **IN,
    part=1,
    parts=1,
    backups=[PlannedBackup(backup_id="b", context_id="vm-1", vm_name="web")],
    excluded=[],
)
REQUESTED = BackupRequested(
    **ABOUT,
    vm_name="web",
    disks=[],
    repository_id="repo-1",
    engine="simulated",
    location="/x",
    config={},
    backup_type="auto",
    retry_attempts=0,
    retry_delay_seconds=1,
    timeout_seconds=None,
    requested_at=T0,
)
FAILED = BackupFailed(**ABOUT, attempt=1, error="broken")
DONE = BackupCompleted(**ABOUT, attempt=2, bytes_read=2, bytes_transferred=1, snapshot_ref="there")
COMPLETED = FlowCompleted(
    **IN,
    status="error",
    started_at=T0,
    completed_at=T0 + timedelta(seconds=9),
    jobs_created=1,
    jobs_completed=0,
    jobs_failed=1,
    jobs_skipped=0,
    bytes_transferred=0,
    error_message="broken",
)
BUFFERED = FlowBuffered(
    flow_id="flow-1",
    execution_id="y",
    flow_name="flow-1",
    execution_type="manual",
    triggered_by="eve",
    occurrence=None,
    overlap_policy="buffer_one",
    priority=3,
    waiting_for=["x"],
)
HOUSE = [vm(), group(members=["vm-1"]), repository(), flow()]
SKIPPED = FlowSkipped(
    flow_id="flow-1", execution_id="y", execution_type="manual", occurrence=None, reason="overlap", message="busy"
)
