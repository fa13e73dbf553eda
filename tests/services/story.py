"""A random run of the whole engine, without a shell: definitions that come, change and go, executions, failures."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

from bus.envelope import Stored
from schemas.base import Message
from schemas.commands import CancelExecution, ExecuteFlow, PruneHistory
from schemas.definitions import Freeze
from schemas.events import (
    BackupCompleted,
    BackupFailed,
    BackupProgressed,
    BackupRequested,
    BackupRetrying,
    BackupStarted,
    FlowDefined,
    FlowMissed,
    FreezeDefined,
    Rejected,
)
from schemas.ids import ENGINE
from tests.services.world import World
from tests.support import T0, due, engine_settings, flow, group, policy, repository, schedule, vm


def story(seed: int, length: int = 150, *, prune: bool = True) -> list[Stored]:
    """Return a log."""
    run = _Run(Random(seed))
    for step in range(length):
        run.step(step, prune=prune)
    return run.end()


class _Run:
    """An engine to which things happen, and workers that take what it requests."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._names = [f"vm-{number}" for number in range(chance.randrange(1, 12))]
        self._flows = [f"flow-{number}" for number in range(chance.randrange(1, 5))]
        self._fields: dict[str, Any] = {
            "schedule_id": "schedule-1",
            "overlap_policy": chance.choice(["skip", "buffer_one", "cancel_other", "allow"]),
        }
        self._world = World(
            *map(vm, self._names),
            group(members=self._names),
            repository(max_concurrent_jobs=chance.choice([None, 2, 5])),
            schedule(),
            policy(),
            *(flow(name, policy_id="policy-1", **self._fields) for name in self._flows),
        )
        self._version = 1
        self._armed = dict.fromkeys(self._flows, T0)
        self._gone: set[str] = set()
        self._queue: list[BackupRequested] = []
        self._seen = 0

    def step(self, number: int, *, prune: bool) -> None:
        """Have a worker report, or something else happen, and the engine decide what follows."""
        kind = self._chance.random()
        if self._queue and kind < 0.6:
            self._work(self._chance.randrange(len(self._queue)))
        else:
            self._world.append(*self._event(kind, number, prune=prune))
        self._settle()

    def end(self) -> list[Stored]:
        """Have all that is requested done, and return the log."""
        while self._queue:
            self._work(-1)
            self._settle()
        return self._world.entries

    def _event(self, kind: float, number: int, *, prune: bool) -> list[Message]:
        """Return what somebody asks for, or what becomes due."""
        chance, world = self._chance, self._world
        if kind < 0.75:
            return [due(chance.choice(self._flows), T0 + timedelta(minutes=number))]
        if kind < 0.8:
            return [ExecuteFlow(id=chance.choice(self._flows))]
        if kind < 0.84 and world.state.executions:
            return [CancelExecution(id=chance.choice(sorted(world.state.executions)))]
        if kind < 0.92:
            return [self._change(kind, number)]
        if kind < 0.95:
            first = T0 + timedelta(minutes=number)
            missed = FlowMissed(flow_id=self._flows[0], schedule_id="schedule-1", first=first, last=first, count=1)
            return [missed, Rejected(entity="vm", verb="create", id="x", code="conflict", reason="taken")]
        if prune and kind < 0.97:
            return [PruneHistory(id="history", before=T0 + timedelta(seconds=len(world.entries) - 40))]
        return [self._change(kind, number)]

    def _change(self, kind: float, number: int) -> Message:
        """Return the next version of a flow, of a VM, or of the settings."""
        chance = self._chance
        self._version += 1
        version = self._version
        if kind < 0.88:
            name = chance.choice(self._flows)
            if chance.random() < 0.7:
                if name in self._gone:  # it is made anew, and has no past
                    self._gone.remove(name)
                    self._armed[name] = T0 + timedelta(minutes=number)
                fields = {**self._fields, "armed_at": self._armed[name]}
                return flow(name, policy_id="policy-1", version=version, priority=version, **fields)
            self._gone.add(name)
            return FlowDefined(id=name, version=version, definition=None)
        if kind < 0.92:
            return vm(chance.choice(self._names), version=version, enabled=chance.random() < 0.7)
        if kind > 0.98:
            return schedule(version=version, enabled=chance.random() < 0.8, jitter_seconds=chance.choice([0, 300]))
        if kind > 0.975:
            until = T0 + timedelta(hours=chance.randrange(300))
            return FreezeDefined(
                id=ENGINE,
                version=version,
                definition=chance.choice([None, Freeze(since=T0, until=until, reason="audit", created_by="eve")]),
            )
        limit = chance.choice([None, 2, 6])
        return engine_settings(max_concurrent_jobs=limit, keep_days=limit, version=version)

    def _settle(self) -> None:
        self._world.settle()
        new = [entry.envelope.data for entry in self._world.entries[self._seen :]]
        self._queue += [data for data in new if isinstance(data, BackupRequested)]
        self._seen = len(self._world.entries)

    def _work(self, number: int) -> None:
        """Have a worker do what was requested, and report it."""
        chance, request = self._chance, self._queue.pop(number)
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
        self._world.append(*said)
