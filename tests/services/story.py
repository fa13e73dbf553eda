"""A random run of the whole engine, without a shell: definitions that come, change and go, executions, failures."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

from bus.envelope import Stored
from schemas.base import Message
from schemas.commands import CancelExecution, ExecuteFlow, PruneHistory
from schemas.events import (
    BackupCompleted,
    BackupFailed,
    BackupProgressed,
    BackupRequested,
    BackupRetrying,
    BackupStarted,
    FlowDefined,
    FlowMissed,
    Rejected,
)
from tests.services.world import World
from tests.support import T0, due, engine_settings, flow, group, policy, repository, schedule, vm


def story(seed: int, length: int = 150, *, prune: bool = True) -> list[Stored]:
    """Return a log."""
    chance = Random(seed)
    names = [f"vm-{number}" for number in range(chance.randrange(1, 12))]
    flows = [f"flow-{number}" for number in range(chance.randrange(1, 5))]
    fields = {"overlap_policy": chance.choice(["skip", "buffer_one", "cancel_other", "allow"])}
    world = World(
        *map(vm, names),
        group(members=names),
        repository(max_concurrent_jobs=chance.choice([None, 2, 5])),
        schedule(),
        policy(),
        *(flow(name, policy_id="policy-1", **fields) for name in flows),
    )
    version = 1
    queue: list[BackupRequested] = []
    seen = 0

    def settle() -> None:
        nonlocal seen
        world.settle()
        queue.extend(
            entry.envelope.data for entry in world.entries[seen:] if isinstance(entry.envelope.data, BackupRequested)
        )
        seen = len(world.entries)

    def reports(request: BackupRequested) -> list[Message]:
        about: dict[str, Any] = {
            field: getattr(request, field) for field in ("flow_id", "execution_id", "backup_id", "context_id")
        }
        attempt = chance.choice([1, 1, 2])
        said: list[Message] = [BackupStarted(**about, attempt=1, worker="w1")]
        if attempt == 2:
            said.append(BackupRetrying(**about, attempt=1, error="first", delay_seconds=1))
            said.append(BackupStarted(**about, attempt=2, worker="w2"))
        said.append(BackupProgressed(**about, attempt=attempt, percent=50, bytes_read=5, bytes_transferred=3))
        good = BackupCompleted(**about, attempt=attempt, bytes_read=10, bytes_transferred=7, snapshot_ref="there")
        ends = [good, good, BackupFailed(**about, attempt=attempt, error="broken")]
        said += [chance.choice(ends)] * chance.choice([1, 1, 2])
        if attempt == 2 and chance.random() < 0.3:  # a worker that was thought dead
            said.insert(-1, BackupFailed(**about, attempt=1, error="late"))
        return said

    for step in range(length):
        kind = chance.random()
        if queue and kind < 0.6:
            world.append(*reports(queue.pop(chance.randrange(len(queue)))))
        elif kind < 0.75:
            world.append(due(chance.choice(flows), T0 + timedelta(minutes=step)))
        elif kind < 0.8:
            world.append(ExecuteFlow(id=chance.choice(flows)))
        elif kind < 0.84 and world.state.executions:
            world.append(CancelExecution(id=chance.choice(sorted(world.state.executions))))
        elif kind < 0.88:
            version += 1
            name = chance.choice(flows)
            change = flow(name, policy_id="policy-1", version=version, priority=version, **fields)
            world.append(change if chance.random() < 0.7 else FlowDefined(id=name, version=version, definition=None))
        elif kind < 0.92:
            version += 1
            world.append(vm(chance.choice(names), version=version, enabled=chance.random() < 0.7))
        elif kind < 0.95:
            first = T0 + timedelta(hours=step)
            missed = FlowMissed(flow_id=flows[0], schedule_id="schedule-1", first=first, last=first, count=1)
            world.append(missed, Rejected(entity="vm", verb="create", id="x", code="conflict", reason="taken"))
        elif prune and kind < 0.97:
            world.append(PruneHistory(id="history", before=T0 + timedelta(seconds=len(world.entries) - 40)))
        else:
            version += 1
            limit = chance.choice([None, 2, 6])
            world.append(engine_settings(max_concurrent_jobs=limit, keep_days=limit, version=version))
        settle()
    while queue:
        world.append(*reports(queue.pop()))
        settle()
    return world.entries
