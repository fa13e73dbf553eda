"""Deadlines, silent workers, zombies, and definitions that go while an execution runs: each ends, and says why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas.commands import CancelBackfill, CancelExecution, CreateBackfill, ExecuteFlow
from schemas.events import (
    BackupCancelled,
    BackupFailed,
    BackupRequested,
    BackupSkipped,
    FlowBackfillCancelled,
    FlowCancelling,
    FlowCompleted,
    FlowDefined,
    FlowOverdue,
    FlowSkipped,
    FlowStarted,
    GroupDefined,
)
from schemas.ids import backup_id, manual_execution_id
from services.executor.starting import EXECUTION_TIMEOUT
from services.scheduler import deadlines
from services.scheduler.deadlines import GRACE, Deadlines
from services.scheduler.domain import State as SchedulerState
from services.scheduler.domain import evolve as schedule_evolve
from tests.services.world import EXECUTION, World, begun, cancelled, done, failed, house, of
from tests.support import T0, due, flow, group, policy, repository, stored, vm

TERMS = policy(start_deadline_seconds=600, execution_timeout_seconds=3600)


def overdue(deadline: Any, execution_id: str = EXECUTION, context_id: str | None = None) -> FlowOverdue:
    return FlowOverdue(
        flow_id="flow-1",
        execution_id=execution_id,
        deadline=deadline,
        passed_at=T0 + timedelta(hours=1),
        context_id=context_id,
    )


def scheduled(world: World) -> Deadlines:
    """Return the deadlines that the scheduler sees on a world's log."""
    state = SchedulerState()
    for entry in world.entries:
        schedule_evolve(state, entry)
        deadlines.evolve(state.deadlines, entry.envelope, state.catalogue)
    return state.deadlines


# --- the scheduler's side ---------------------------------------------------------------------------------------------


def test_the_terms_of_an_execution_become_deadlines_and_its_end_removes_them() -> None:
    world = World(TERMS, *house(due(), policy_id="policy-1", vms=1))
    asked = world.entries[-1].envelope.time
    (started,) = of(FlowStarted, world.settle())
    assert started.start_by == asked + timedelta(seconds=600)
    assert started.finish_by == asked + timedelta(seconds=3600)
    known = scheduled(world)
    assert known.wake_at == started.start_by
    assert known.passed(started.start_by - timedelta(microseconds=1)) == []
    assert [one.deadline for one in known.passed(started.finish_by)] == ["start", "finish"]
    world.append(overdue("start"))
    assert [one.deadline for one in scheduled(world).passed(started.finish_by)] == ["finish"]
    world.append(done("vm-0"))
    world.settle()
    assert scheduled(world).wake_at is None


def test_without_a_policy_an_execution_has_a_week() -> None:
    world = World(*house(due()))
    asked = world.entries[-1].envelope.time
    (started,) = of(FlowStarted, world.settle())
    assert started.start_by is None
    assert started.finish_by == asked + EXECUTION_TIMEOUT


def test_what_waits_for_another_execution_has_a_start_deadline_too() -> None:
    world = World(TERMS, *house(due(), policy_id="policy-1", overlap_policy="buffer_one"))
    world.settle()
    world.append(ExecuteFlow(id="flow-1"))
    sent = world.entries[-1].envelope
    world.settle()
    waiting = manual_execution_id(sent.id)
    found = [one for one in scheduled(world).passed(sent.time + timedelta(seconds=600)) if one.execution_id == waiting]
    assert [one.deadline for one in found] == ["start"]
    world.append(overdue("start", waiting))
    (no,) = world.settle()
    assert isinstance(no, FlowSkipped)
    assert (no.reason, no.execution_id) == ("start_deadline", waiting)
    assert [one for one in scheduled(world).passed(T0 + timedelta(days=1)) if one.execution_id == waiting] == []


def test_a_stop_is_followed_by_a_grace_for_the_workers() -> None:
    world = World(*house(due(), vms=1))
    world.settle()
    world.append(begun("vm-0"), CancelExecution(id=EXECUTION))
    world.settle()
    at = world.entries[-1].envelope.time + GRACE
    assert [(one.deadline, one.passed_at) for one in scheduled(world).passed(at)] == [("stop", at)]


# --- the executor's side ----------------------------------------------------------------------------------------------


def test_after_the_start_deadline_nothing_is_begun_and_what_runs_goes_on() -> None:
    world = World(TERMS, *house(due(), policy_id="policy-1", vms=4, max_concurrent_jobs=2))
    world.settle()
    world.append(begun("vm-0"), overdue("start"))
    said = world.settle()
    assert [type(event) for event in said] == [BackupSkipped] * 3
    assert {event.context_id for event in said} == {"vm-1", "vm-2", "vm-3"}
    assert "start deadline" in said[0].reason
    world.append(begun("vm-1"), done("vm-1"), done("vm-0"))  # a worker that had not heard of it yet
    (end,) = world.settle()
    assert (end.status, end.jobs_completed, end.jobs_skipped) == ("warning", 1, 3)


def test_an_execution_that_takes_too_long_is_stopped_with_the_reason() -> None:
    world = World(TERMS, *house(due(), policy_id="policy-1", vms=3, max_concurrent_jobs=2))
    world.settle()
    world.append(begun("vm-0"), begun("vm-1"), done("vm-0"), overdue("finish"))
    stop, *skipped = world.settle()
    assert isinstance(stop, FlowCancelling)
    assert stop.origin == "timeout"
    assert [event.context_id for event in skipped] == ["vm-2"]
    world.append(cancelled("vm-1"))
    (end,) = world.settle()
    assert (end.status, end.jobs_completed, end.jobs_skipped) == ("warning", 1, 2)
    assert "had not ended by" in end.error_message


@pytest.mark.parametrize(
    ("stop", "status", "kind"),
    [(overdue("finish"), "error", BackupFailed), (CancelExecution(id=EXECUTION), "cancelled", BackupCancelled)],
    ids=["timeout", "cancel"],
)
def test_a_worker_that_does_not_answer_is_not_waited_for(stop: Any, status: str, kind: type[Any]) -> None:
    world = World(*house(due(), vms=2))
    world.settle()
    world.append(begun("vm-0"), stop)
    world.settle()
    world.append(overdue("stop"))
    closed, end = world.settle()
    assert isinstance(closed, kind)
    assert "may still be at work" in (getattr(closed, "error", None) or closed.reason)
    assert (end.status, end.jobs_created) == (status, 2)
    world.append(done("vm-0"))  # it comes back: too late
    assert world.settle() == []


def test_one_vm_whose_worker_is_silent_is_closed_and_the_others_go_on() -> None:
    world = World(*house(due(), vms=2))
    world.settle()
    world.append(begun("vm-0"), begun("vm-1"), CancelExecution(id=EXECUTION, context_id="vm-0"))
    assert [type(event) for event in world.settle()] == [FlowCancelling]
    world.append(overdue("stop", context_id="vm-0"))
    (closed,) = world.settle()
    assert (type(closed), closed.context_id) == (BackupCancelled, "vm-0")
    world.append(done("vm-1"))
    (end,) = world.settle()
    assert (end.status, end.jobs_completed, end.jobs_skipped) == ("warning", 1, 1)


def test_deadlines_of_what_is_over_change_nothing() -> None:
    world = World(*house(due(), vms=1))
    world.settle()
    world.append(done("vm-0"))
    world.settle()
    for deadline in ("start", "finish", "stop"):
        world.append(overdue(deadline))
    assert world.settle() == []


def test_a_zombie_does_not_overwrite_the_newer_attempt() -> None:
    """A worker was paused beyond its lease; another one began anew; then the first comes back with its own result."""
    world = World(*house(due(), vms=1))
    world.settle()
    world.append(begun("vm-0"), begun("vm-0", attempt=2), failed("vm-0", attempt=1))
    assert world.settle() == []
    world.append(done("vm-0", attempt=2))
    (end,) = world.settle()
    assert (end.status, end.jobs_completed) == ("success", 1)
    world = World(*house(due(), vms=1))
    world.settle()
    world.append(begun("vm-0"), begun("vm-0", attempt=2), done("vm-0", attempt=2), failed("vm-0", attempt=1))
    assert world.settle()[0].status == "success"


# --- definitions that go, or are switched off, in the middle ---------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (flow(version=2, enabled=False), None),
        (group(members=["vm-0"], version=2), None),
        (group(members=["vm-0", "vm-1"], version=2, enabled=False), None),
        (vm("vm-1", version=2, enabled=False), "the VM was disabled while the execution ran"),
        (repository(version=2, enabled=False), "the repository was disabled while the execution ran"),
        (policy(version=2, enabled=False), None),
    ],
    ids=["flow disabled", "VM leaves group", "group disabled", "VM disabled", "repository disabled", "policy disabled"],
)
def test_what_is_changed_while_an_execution_runs(change: Any, reason: str | None) -> None:
    """The plan stands: only what cannot be done any more is skipped."""
    world = World(*house(policy(), due(), vms=2, max_concurrent_jobs=1))
    world.settle()
    world.append(begun("vm-0"), change, done("vm-0"))
    said = world.settle()
    if reason is None:
        assert [request.context_id for request in of(BackupRequested, said)] == ["vm-1"]
        return
    skipped, end = said
    assert (skipped.context_id, skipped.reason) == ("vm-1", reason)
    assert end.status == "warning"


def test_members_that_come_later_take_part_in_the_next_execution() -> None:
    world = World(*house(due(), vms=2))
    world.settle()
    world.append(vm("late"), group(members=["vm-0", "vm-1", "late"], version=2), done("vm-0"), done("vm-1"))
    (end,) = world.settle()
    assert end.jobs_created == 2
    world.append(due(at=T0 + timedelta(hours=1)))
    assert [request.context_id for request in of(BackupRequested, world.settle())] == ["vm-0", "vm-1", "late"]


def test_a_flow_that_is_deleted_stops_its_executions() -> None:
    world = World(*house(due(), vms=2))
    world.settle()
    world.append(begun("vm-0"), FlowDefined(id="flow-1", version=2, definition=None))
    stop, skipped = world.settle()
    assert (stop.origin, skipped.context_id) == ("deleted", "vm-1")
    world.append(GroupDefined(id="group-1", version=2, definition=None), cancelled("vm-0"))
    (end,) = world.settle()
    assert isinstance(end, FlowCompleted)
    assert (end.status, end.jobs_skipped) == ("cancelled", 2)
    assert backup_id(EXECUTION, "vm-0") not in world.state.in_flight.vms.values()


@pytest.mark.parametrize("first", ["overdue", "due", "cancel"])
def test_what_is_stopped_for_several_reasons_at_once_is_told_to_stop_once_for_each_who_asked(first: str) -> None:
    """A newer execution takes its place and its time is up, in the same moment; somebody cancels it as well."""
    world = World(TERMS, *house(due(), policy_id="policy-1", vms=1, overlap_policy="cancel_other"))
    world.settle()
    world.append(begun("vm-0"))
    causes = {
        "overdue": overdue("finish"),
        "due": due(at=T0 + timedelta(hours=1)),
        "cancel": CancelExecution(id=EXECUTION),
    }
    world.append(causes.pop(first), *causes.values())
    decided = [one for batch in world.decide() for one in batch]
    stops = [one for one in decided if isinstance(one.event, FlowCancelling)]
    assert sorted(one.event.origin for one in stops) == ["asked", "overlap"]  # type: ignore[union-attr]
    assert len({one.id for one in decided}) == len(decided)
    world.settle()
    ids = [entry.envelope.id for entry in world.entries]
    assert len(ids) == len(set(ids))


def test_a_command_that_comes_again_sets_no_deadline() -> None:
    world = World(TERMS, *house(ExecuteFlow(id="flow-1"), policy_id="policy-1", vms=1))
    command = world.entries[-1].envelope
    world.settle()
    execution_id = manual_execution_id(command.id)
    world.append(done("vm-0", execution_id))
    world.settle()
    state = SchedulerState()
    for entry in [*world.entries, stored(command, len(world.entries) + 1)]:
        schedule_evolve(state, entry)
        deadlines.evolve(state.deadlines, entry.envelope, state.catalogue)
    assert state.deadlines.wake_at is None


def test_a_backfill_is_cancelled_through_its_own_flow_alone() -> None:
    """It was cancelled through any other that one may see."""
    occurrences = [T0 - timedelta(hours=n) for n in (2, 1)]
    world = World(*house(flow("flow-2"), CreateBackfill(id="b", flow_id="flow-1", occurrences=occurrences)))
    world.settle()
    world.append(CancelBackfill(id="b", flow_id="flow-2"))
    (rejected,) = world.settle()
    assert rejected.reason == "backfill 'b' of flow 'flow-2' is not running: there is nothing to cancel"
    world.append(CancelBackfill(id="b", flow_id="flow-1"))
    assert len(of(FlowBackfillCancelled, world.settle())) == 1
