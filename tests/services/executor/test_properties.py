"""What must hold for any history: workers that die, are paused, repeat themselves or come late; executors that crash.

The model of the world around the executor is a queue with redelivery: a request is taken by workers until one end is on
the log; what they report may be lost (the worker died), repeated, or come from a worker that was thought dead.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.commands import CancelExecution, ExecuteFlow
from schemas.events import (
    BackupCancelled,
    BackupCompleted,
    BackupEvent,
    BackupFailed,
    BackupRequested,
    BackupSkipped,
    BackupStarted,
    FlowCompleted,
    FlowDue,
    FlowOverdue,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
)
from schemas.ids import scheduled_execution_id
from services.executor.domain import decide
from services.executor.state import State, evolve
from tests.services.world import World
from tests.support import T0, due, engine_settings, flow, group, repository, schedule, vm

ENDS = (BackupCompleted, BackupFailed, BackupCancelled, BackupSkipped)


class Recount:
    """The log read by somebody who knows nothing of the executor: what is in flight, what has ended, and how."""

    def __init__(self, flow_limit: int | None, repository_limit: int | None, total: int | None) -> None:
        self.limits = (flow_limit, repository_limit, total)
        self.flying: dict[str, BackupRequested] = {}
        self.begun: dict[str, int] = {}
        self.ended: dict[str, BackupEvent] = {}
        self.planned: dict[str, list[str]] = {}
        self.completed: dict[str, FlowCompleted] = {}
        self.answers: Counter[str] = Counter()
        self.requested: Counter[str] = Counter()

    def take(self, event: Any) -> None:
        match event:
            case FlowStarted() | FlowSkipped():
                self.answers[event.execution_id] += 1
            case FlowPlanned():
                self.planned.setdefault(event.execution_id, []).extend(one.backup_id for one in event.backups)
            case BackupRequested():
                self.requested[event.backup_id] += 1
                assert event.backup_id not in self.ended
                self.flying[event.backup_id] = event
                self._check()
            case BackupStarted():
                self.begun[event.backup_id] = max(event.attempt, self.begun.get(event.backup_id, 0))
            case _ if isinstance(event, ENDS):
                stale = getattr(event, "attempt", 99) < self.begun.get(event.backup_id, 0)
                if not stale and event.backup_id not in self.ended:
                    self.ended[event.backup_id] = event
                    self.flying.pop(event.backup_id, None)
            case FlowCompleted():
                assert event.execution_id not in self.completed, "completed twice"
                self.completed[event.execution_id] = event
                ends = [self.ended[id_] for id_ in self.planned[event.execution_id]]  # none is left open
                by_kind = Counter(type(end) for end in ends)
                assert event.jobs_created == len(ends)
                assert event.jobs_completed == by_kind[BackupCompleted]
                assert event.jobs_failed == by_kind[BackupFailed]
                assert event.jobs_skipped == by_kind[BackupCancelled] + by_kind[BackupSkipped]
                assert event.bytes_transferred == sum(
                    end.bytes_transferred for end in ends if isinstance(end, BackupCompleted)
                )
            case _:
                pass

    def _check(self) -> None:
        flow_limit, repository_limit, total = self.limits
        in_flight = self.flying.values()
        assert flow_limit is None or max(Counter(one.flow_id for one in in_flight).values()) <= flow_limit
        assert repository_limit is None or len(in_flight) <= repository_limit
        assert total is None or len(in_flight) <= total
        assert max(Counter(one.context_id for one in in_flight).values()) == 1, "a VM is backed up twice at once"


class Chaos:
    """Workers, a queue, and an operator, all of them moved by one seed."""

    def __init__(self, world: World, recount: Recount, chance: Random) -> None:
        self.world = world
        self.recount = recount
        self.chance = chance
        self.seen = 0
        self.queue: list[BackupRequested] = []
        self.zombies: list[BackupEvent] = []  # what workers that were thought dead will say

    def settle(self) -> None:
        self.world.settle()
        for entry in self.world.entries[self.seen :]:
            self.recount.take(entry.envelope.data)
            if isinstance(entry.envelope.data, BackupRequested):
                self.queue.append(entry.envelope.data)
        self.seen = len(self.world.entries)

    def tell(self, *messages: Any) -> None:
        self.world.append(*messages)
        if self.chance.random() < 0.02:
            self.world.refold()
        self.settle()

    def work(self) -> None:
        """One worker takes one request that has not ended, and most often does what it should."""
        request = self.queue.pop(self.chance.randrange(len(self.queue)))
        if request.backup_id in self.recount.ended:
            return
        about = {field: getattr(request, field) for field in ("flow_id", "execution_id", "backup_id", "context_id")}
        attempt = self.recount.begun.get(request.backup_id, 0) + 1
        self.tell(BackupStarted(**about, attempt=attempt, worker=f"w{attempt}"))
        size = self.chance.randrange(1000)
        good = BackupCompleted(**about, attempt=attempt, bytes_read=1, bytes_transferred=size, snapshot_ref="x")
        bad = BackupFailed(**about, attempt=attempt, error="broken")
        end = self.chance.choice([good, good, bad])
        fate = self.chance.random()
        if fate < 0.1:  # it dies
            self.queue.append(request)
        elif fate < 0.2:  # it is paused, and comes back
            self.queue.append(request)
            self.zombies.append(end)
        else:
            self.tell(*[end] * self.chance.choice([1, 1, 1, 2, 3]))
        if self.zombies and self.chance.random() < 0.3:
            self.tell(self.zombies.pop(self.chance.randrange(len(self.zombies))))


@given(
    size=st.integers(0, 60) | st.integers(0, 500),
    flows=st.integers(1, 3),
    limits=st.tuples(*[st.none() | st.integers(1, 20)] * 3),
    overlap=st.sampled_from(["skip", "buffer_one", "buffer_all", "cancel_other", "allow"]),
    triggers=st.integers(1, 3),
    operator=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_whatever_happens_each_execution_ends_once_and_its_counts_are_right(
    size: int, flows: int, limits: tuple[Any, Any, Any], overlap: Any, triggers: int, operator: bool, seed: int
) -> None:
    names = [f"vm-{number}" for number in range(size)]
    flow_limit, repository_limit, total = limits
    world = World(
        engine_settings(max_concurrent_jobs=total),
        *map(vm, names),
        group(members=names),
        repository(max_concurrent_jobs=repository_limit),
        schedule(),
        *(flow(f"f{n}", max_concurrent_jobs=flow_limit, priority=n, overlap_policy=overlap) for n in range(flows)),
    )
    chance = Random(seed)
    recount = Recount(flow_limit, repository_limit, total)
    chaos = Chaos(world, recount, chance)
    # the scheduler says the occurrences of one flow in their order
    wishes: list[Any] = [
        due(f"f{number}", T0 + timedelta(hours=hour))
        for hour in reversed(range(triggers))
        for number in chance.sample(range(flows), flows)
    ]
    wishes.insert(chance.randrange(len(wishes)), ExecuteFlow(id="f0"))
    occurrences = [scheduled_execution_id(one.flow_id, one.occurrence) for one in wishes if isinstance(one, FlowDue)]
    while wishes or chaos.queue or world.state.executions:
        if wishes and (not chaos.queue or chance.random() < 0.2):
            chaos.tell(wishes.pop())
        elif operator and world.state.executions and chance.random() < 0.03:
            chaos.tell(nuisance(world, chance))
        elif chaos.queue:
            chaos.work()
        else:
            raise AssertionError("an execution waits for nobody")
    for zombie in chaos.zombies:
        chaos.tell(zombie)
    assert set(recount.requested.values()) <= {1}
    assert recount.answers == dict.fromkeys(recount.answers, 1)
    assert set(occurrences) <= recount.answers.keys()
    assert recount.completed.keys() == recount.planned.keys()
    assert recount.flying == {}
    state = world.state
    assert (state.in_flight.total, state.triggers, state.pending_cancels, state.oldest) == (0, {}, {}, None)
    assert world.decide() == []
    same = State()
    for entry in world.entries:
        evolve(same, entry)
    assert decide(same) == []
    assert same.accounted == state.accounted


def nuisance(world: World, chance: Random) -> Any:
    """Return what an operator, or the scheduler, says about an execution that runs."""
    execution = chance.choice(sorted(world.state.executions.values(), key=lambda one: one.sequence))
    flow_id, id_ = execution.started.flow_id, execution.started.execution_id
    in_flight = sorted(one.context_id for one in execution.in_flight.values())
    if execution.stop is not None:
        return FlowOverdue(flow_id=flow_id, execution_id=id_, deadline="stop", passed_at=T0)
    kind = chance.randrange(4)
    if kind == 0 and in_flight:
        return CancelExecution(id=id_, context_id=chance.choice(in_flight))
    if kind == 1:
        return CancelExecution(id=id_)
    return FlowOverdue(flow_id=flow_id, execution_id=id_, deadline="start" if kind == 2 else "finish", passed_at=T0)


def test_the_recount_sees_a_limit_that_is_broken() -> None:
    """The check itself can fail: it is shown a log on which a limit is exceeded."""
    world = World(vm("a"), vm("b"), group(members=["a", "b"]), repository(), flow(), due())
    recount = Recount(1, None, None)
    world.settle()
    broken = False
    for entry in world.entries:
        try:
            recount.take(entry.envelope.data)
        except AssertionError:
            broken = True
    assert broken
