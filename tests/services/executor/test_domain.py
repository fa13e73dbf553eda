"""The executor's decisions: given a history, then what is to be appended; and that for any order of events."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given as given_
from hypothesis import strategies as st

from bus.envelope import fault_of
from schemas.base import LARGEST_INTEGER, LAST_INSTANT, Message
from schemas.commands import BackupVm, CancelExecution, ExecuteFlow, RetryExecution
from schemas.definitions import Disk, Member
from schemas.events import (
    BackupRequested,
    BackupSkipped,
    FlowCancelling,
    FlowCompleted,
    FlowDefined,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    GroupDefined,
    Rejected,
    RepositoryDefined,
    VmDefined,
)
from schemas.ids import backup_id, manual_execution_id
from services.decision import LIMIT
from services.executor.domain import decide
from services.executor.plan import PART
from services.executor.state import State, evolve
from tests.services.world import EXECUTION, World, begun, cancelled, done, failed, house, of
from tests.support import T0, due, engine_settings, flow, group, policy, repository, schedule, sent, vm


def test_an_occurrence_becomes_an_execution_in_one_batch() -> None:
    world = World(*house(due()))
    (batch,) = world.decide()
    events = [one.event for one in batch]
    assert [type(event) for event in events] == [FlowStarted, FlowPlanned, *[BackupRequested] * 3]
    started, planned, *requests = events
    assert isinstance(started, FlowStarted)
    assert isinstance(planned, FlowPlanned)
    assert (started.execution_id, started.jobs, started.execution_type) == (EXECUTION, 3, "scheduled")
    assert [backup.context_id for backup in planned.backups] == ["vm-0", "vm-1", "vm-2"]
    assert [request.context_id for request in requests] == ["vm-0", "vm-1", "vm-2"]  # type: ignore[union-attr]
    assert {one.time for one in batch} == {world.entries[-1].envelope.time}


def test_deciding_is_the_same_until_the_log_moves() -> None:
    world = World(*house(due()))
    assert world.decide() == world.decide()
    world.settle()
    assert world.decide() == []


def test_a_first_request_can_be_read_whatever_the_definitions_are_as_long_as_they_can() -> None:
    """So it is not decoded before it is appended: all that is in it was read, within the same bounds."""
    disks = [Disk(disk_id=f"{n}".rjust(64, "d"), path="/" + "ä" * 4095) for n in range(256)]
    config: dict[str, Any] = {f"{n}".rjust(64, "k"): "\U0001f600" * 1024 for n in range(62)}
    config |= {"most": LARGEST_INTEGER, "least": -LARGEST_INTEGER}
    roots = ["/" + "r" * 4095] * 64
    id_ = "x" * 64
    definitions = [
        vm(id_, vm_name="n" * 255, disks=disks),
        group(id_, [id_]),
        repository(id_, type="e" * 64, location="/" + "l" * 4095, config=config),
        policy(id_, retry_attempts=20, retry_delay_seconds=86_400, timeout_seconds=2_147_483_647),
        flow(id_, target_id=id_, repository_id=id_, policy_id=id_),
        engine_settings(disk_roots=roots, repository_roots=roots, block_devices=True),
    ]
    assert [fault_of(sent(one)) for one in definitions] == [None] * len(definitions)
    world = World(*definitions, due(id_, LAST_INSTANT))
    requests = [one for batch in world.decide() for one in batch if one.is_taken_over]
    assert [type(one.event) for one in requests] == [BackupRequested]
    assert fault_of(sent(requests[0].event, id=requests[0].id, time=LAST_INSTANT)) is None


def test_a_request_says_all_a_worker_needs() -> None:
    rules = policy(retry_attempts=2, retry_delay_seconds=5, timeout_seconds=60, backup_type="full")
    world = World(*house(rules, flow(policy_id="policy-1", version=2), due()))
    request = of(BackupRequested, world.settle())[0]
    assert (request.vm_name, request.engine, request.location) == ("VM-0", "simulated", "/backups")
    assert (request.retry_attempts, request.retry_delay_seconds, request.timeout_seconds) == (2, 5, 60)
    assert (request.backup_type, request.disks[0].path) == ("full", "/disks/vm-0.raw")


@pytest.mark.parametrize(
    ("ends", "status", "counts"),
    [
        ([done("vm-0"), done("vm-1"), done("vm-2")], "success", (3, 0, 0)),
        ([done("vm-0"), failed("vm-1"), done("vm-2")], "warning", (2, 1, 0)),
        ([failed("vm-0"), failed("vm-1"), failed("vm-2")], "error", (0, 3, 0)),
    ],
)
def test_status_rules(ends: list[Message], status: str, counts: tuple[int, int, int]) -> None:
    world = World(*house(due()))
    world.settle()
    world.append(*ends[:2])
    assert world.settle() == []
    world.append(ends[2])
    (end,) = world.settle()
    assert isinstance(end, FlowCompleted)
    assert (end.status, end.jobs_created) == (status, 3)
    assert (end.jobs_completed, end.jobs_failed, end.jobs_skipped) == counts
    assert end.bytes_transferred == 10 * counts[0]
    assert end.completed_at == world.entries[-2].envelope.time
    assert (end.error_message is None) == (status == "success")
    if counts[1]:
        assert end.error_message is not None
        assert "is broken" in end.error_message
    assert world.state.executions == {}


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], "group 'group-1' is empty"),
        ([vm("a", enabled=False), group(members=["a"], version=2)], "all 1 VMs of group 'group-1' are left out"),
    ],
)
def test_nothing_to_do_is_a_warning_at_once(events: list[Message], reason: str) -> None:
    world = World(group(), repository(), flow(), *events, due())
    (batch,) = world.decide()
    assert [type(one.event) for one in batch] == [FlowStarted, FlowPlanned, FlowCompleted]
    end = batch[-1].event
    assert isinstance(end, FlowCompleted)
    assert (end.status, end.jobs_created) == ("warning", 0)
    assert end.error_message is not None
    assert reason in end.error_message
    world.settle()
    assert world.state.executions == {}


def test_disabled_members_are_left_out_with_the_reason_and_priority_orders_the_rest() -> None:
    members = [
        Member(context_id="a"),
        Member(context_id="b", enabled=False),
        Member(context_id="c", priority=9),
        Member(context_id="d"),
    ]
    world = World(*map(vm, "abc"), vm("d", enabled=False), group(members=members), repository(), flow(), due())
    (planned,) = of(FlowPlanned, world.settle())
    assert [backup.context_id for backup in planned.backups] == ["c", "a"]
    assert [(one.context_id, one.reason) for one in planned.excluded] == [
        ("b", "disabled in its group"),
        ("d", "the VM is disabled"),
    ]


def test_a_single_vm_is_a_target_too() -> None:
    world = World(vm(), repository(), flow(target_type="vm", target_id="vm-1"), due())
    assert [request.context_id for request in of(BackupRequested, world.settle())] == ["vm-1"]


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([FlowDefined(id="flow-1", version=2, definition=None)], "flow_deleted"),
        ([flow(enabled=False)], "flow_disabled"),
        ([repository(enabled=False)], "repository_disabled"),
        ([group(enabled=False)], "target_disabled"),
        ([policy(enabled=False), flow(policy_id="policy-1")], "policy_disabled"),
        ([flow(flow_type="replication", repository_id=None, destination_type="x")], "unsupported"),
    ],
)
def test_skips_say_why(events: list[Message], reason: str) -> None:
    world = World(*house(*events, due()))
    (no,) = world.settle()
    assert isinstance(no, FlowSkipped)
    assert (no.reason, no.occurrence, no.execution_id) == (reason, T0, EXECUTION)
    assert world.state.triggers == {}


def test_a_disabled_flow_runs_by_hand() -> None:
    world = World(*house(enabled=False))
    world.append(ExecuteFlow(id="flow-1"))
    started = of(FlowStarted, world.settle())[0]
    assert started.execution_type == "manual"
    assert started.execution_id == manual_execution_id(world.entries[-6].envelope.id)


def test_an_occurrence_has_one_answer_however_often_it_is_said() -> None:
    world = World(*house(due()))
    world.settle()
    world.append(due(), *[done(f"vm-{n}") for n in range(3)])
    assert [type(event) for event in world.settle()] == [FlowCompleted]
    world.append(due())
    assert world.settle() == []


@pytest.mark.parametrize(
    ("overlap", "started", "skipped"), [("skip", 1, 3), ("buffer_one", 2, 2), ("buffer_all", 4, 0), ("allow", 4, 0)]
)
def test_overlap(overlap: str, started: int, skipped: int) -> None:
    world = World(*house(overlap_policy=overlap))
    said = []
    for number in range(4):
        world.append(due(at=T0 + timedelta(hours=number)))
        said += world.settle()
    open_ones = set(world.state.executions)
    assert len(open_ones) == (4 if overlap == "allow" else 1)
    while world.state.executions:
        for execution_id in list(world.state.executions):
            world.append(*[done(f"vm-{n}", execution_id) for n in range(3)])
        said += world.settle()
    assert len(of(FlowStarted, said)) == len(of(FlowCompleted, said)) == started
    assert [no.reason for no in of(FlowSkipped, said)] == ["overlap"] * skipped
    assert world.state.triggers == {}


def test_limits_hold_over_a_whole_run() -> None:
    world = World(*house(due(), vms=20, max_concurrent_jobs=3))
    requested = of(BackupRequested, world.settle())
    assert len(requested) == 3
    ended = 0
    while requested:
        request = requested.pop(0)
        world.append(done(request.context_id))
        ended += 1
        said = world.settle()
        requested += of(BackupRequested, said)
        assert len(requested) <= 3
    assert ended == 20
    assert world.state.executions == {}


def test_what_is_deleted_while_it_waits_is_skipped_with_the_reason() -> None:
    world = World(*house(due(), vms=2, max_concurrent_jobs=1))
    world.settle()
    world.append(
        FlowDefined(id="flow-1", version=2, definition=None),
        GroupDefined(id="group-1", version=2, definition=None),
        VmDefined(id="vm-1", version=2, definition=None),
        done("vm-0"),
    )
    stop, skipped, end = world.settle()
    assert (stop.origin, stop.context_id) == ("deleted", None)
    assert isinstance(skipped, BackupSkipped)
    assert "flow 'flow-1' was deleted" in skipped.reason
    assert (end.status, end.jobs_completed, end.jobs_skipped) == ("cancelled", 1, 1)
    world = World(*house(due(), vms=2, max_concurrent_jobs=1))
    world.settle()
    world.append(VmDefined(id="vm-1", version=2, definition=None), done("vm-0"))
    skipped, end = world.settle()
    assert isinstance(skipped, BackupSkipped)
    assert "the VM was deleted" in skipped.reason
    assert (end.status, end.jobs_completed, end.jobs_skipped) == ("warning", 1, 1)
    world = World(*house(due(), vms=2, max_concurrent_jobs=1))
    world.settle()
    world.append(RepositoryDefined(id="repo-1", version=2, definition=None), done("vm-0"))
    assert isinstance(world.settle()[0], BackupSkipped)


def test_a_straggler_changes_nothing() -> None:
    world = World(*house(due(), vms=1))
    world.settle()
    world.append(failed("vm-0"), done("vm-0"))
    (end,) = world.settle()
    assert (end.status, end.jobs_failed, end.jobs_completed) == ("error", 1, 0)
    world.append(done("vm-0"))
    assert world.settle() == []


def test_a_large_plan_comes_in_parts_and_batches() -> None:
    world = World(*house(due(), vms=2 * PART + 1))
    batches = world.decide()
    first = [type(one.event) for one in batches[0]]
    assert first[:4] == [FlowStarted, FlowPlanned, FlowPlanned, FlowPlanned]
    assert all(len(batch) <= LIMIT for batch in batches)
    said = world.settle()
    assert len(of(BackupRequested, said)) == 2 * PART + 1
    requested = {event.backup_id for event in of(BackupRequested, said)}
    assert len(requested) == 2 * PART + 1


def test_a_cancelled_execution_skips_what_waits_and_ends_when_the_workers_have_answered() -> None:
    world = World(*house(due(), vms=3, max_concurrent_jobs=1))
    world.settle()
    world.append(begun("vm-0"), CancelExecution(id=EXECUTION))
    said = world.settle()
    assert [type(event) for event in said] == [FlowCancelling, BackupSkipped, BackupSkipped]
    assert world.settle() == []  # the first one runs: its worker is to answer
    world.append(cancelled("vm-0"))
    (end,) = world.settle()
    assert (end.status, end.jobs_created, end.jobs_skipped) == ("cancelled", 3, 3)
    world.append(CancelExecution(id=EXECUTION))
    (no,) = world.settle()
    assert isinstance(no, Rejected)
    assert "not running" in no.reason
    assert world.state.pending_cancels == {}


def test_cancelling_what_is_all_but_done_does_not_make_it_cancelled() -> None:
    world = World(*house(due(), vms=1))
    world.settle()
    world.append(begun("vm-0"), CancelExecution(id=EXECUTION), done("vm-0"))
    cancelling, end = world.settle()
    assert isinstance(cancelling, FlowCancelling)
    assert end.status == "success"


def test_one_vm_is_cancelled_and_the_others_go_on() -> None:
    world = World(*house(due(), vms=3, max_concurrent_jobs=1))
    world.settle()
    world.append(CancelExecution(id=EXECUTION, context_id="vm-1"))
    said = world.settle()
    assert [type(event) for event in said] == [FlowCancelling, BackupSkipped]
    world.append(done("vm-0"))
    assert [request.context_id for request in of(BackupRequested, world.settle())] == ["vm-2"]
    world.append(CancelExecution(id=EXECUTION, context_id="vm-1"))
    assert isinstance(world.settle()[0], Rejected)
    world.append(done("vm-2"))
    (end,) = world.settle()
    assert (end.status, end.jobs_completed, end.jobs_skipped) == ("warning", 2, 1)


def test_a_retry_is_a_new_execution_of_what_failed_alone() -> None:
    world = World(*house(due(), vms=3))
    world.settle()
    world.append(done("vm-0"), failed("vm-1"), failed("vm-2"))
    world.settle()
    world.append(group(members=["vm-0", "vm-1"], version=2))
    world.append(RetryExecution(id=EXECUTION, flow_id="flow-1", context_ids=["vm-1", "vm-2"]))
    said = world.settle()
    (started,), (planned,) = of(FlowStarted, said), of(FlowPlanned, said)
    assert (started.retry_of, started.jobs, started.execution_type) == (EXECUTION, 1, "manual")
    assert [request.context_id for request in of(BackupRequested, said)] == ["vm-1"]
    assert {one.context_id: one.reason for one in planned.excluded} == {
        "vm-0": "it succeeded in the execution that is retried",
        "vm-2": "no longer in the flow's target",
    }


def test_one_vm_is_backed_up_outside_any_flow() -> None:
    world = World(*house(vms=2))
    world.append(BackupVm(id="x", context_id="vm-1", repository_id="repo-1"))
    said = world.settle()
    (started,), (request,) = of(FlowStarted, said), of(BackupRequested, said)
    assert (started.flow_id, started.flow_name, request.context_id) == ("adhoc", "ad hoc: VM-1", "vm-1")
    world.append(done("vm-1", started.execution_id, "adhoc"))
    assert world.settle()[0].status == "success"
    world.append(BackupVm(id="y", context_id="gone", repository_id="repo-1"))
    world.append(BackupVm(id="z", context_id="vm-1", repository_id="gone"))
    assert [no.reason for no in world.settle()] == ["target_deleted", "repository_deleted"]


@given_(data=st.data())
def test_any_order_of_ends_with_repetition_and_refold_gives_one_recount(data: st.DataObject) -> None:
    """Ends in any order and more than once, a fresh executor at any step: one completion, and its counts are right."""
    size = data.draw(st.integers(0, 40), label="VMs")
    flows = data.draw(st.integers(1, 3), label="flows")
    limit = data.draw(st.none() | st.integers(1, 5), label="limit of a flow")
    repository_limit = data.draw(st.none() | st.integers(1, 5), label="limit of the repository")
    total = data.draw(st.none() | st.integers(1, 8), label="limit in all")
    names = [f"vm-{number}" for number in range(size)]
    world = World(
        engine_settings(max_concurrent_jobs=total),
        *map(vm, names),
        group(members=names),
        repository(max_concurrent_jobs=repository_limit),
        schedule(),
        *(flow(f"f{number}", max_concurrent_jobs=limit, priority=number) for number in range(flows)),
        *(due(f"f{number}") for number in range(flows)),
    )
    said = world.settle()
    open_requests = of(BackupRequested, said)
    outcome: dict[str, bool] = {}
    while open_requests:
        by_flow = Counter(request.flow_id for request in open_requests)
        assert limit is None or max(by_flow.values()) <= limit
        assert repository_limit is None or len(open_requests) <= repository_limit
        assert total is None or len(open_requests) <= total
        assert max(Counter(request.context_id for request in open_requests).values()) == 1
        request = open_requests.pop(data.draw(st.integers(0, len(open_requests) - 1), label="ends next"))
        good = data.draw(st.booleans(), label="good")
        outcome[request.backup_id] = good
        make = done if good else failed
        repeats = data.draw(st.integers(1, 3), label="told so often")
        world.append(*[make(request.context_id, request.execution_id, request.flow_id)] * repeats)
        if data.draw(st.booleans(), label="crash"):
            refolded = State()
            for entry in world.entries:
                evolve(refolded, entry)
            assert decide(refolded) == world.decide()
            world.state = refolded
        new = world.settle()
        said += new
        open_requests += of(BackupRequested, new)
    ends = of(FlowCompleted, said)
    assert Counter(end.flow_id for end in ends) == {f"f{number}": 1 for number in range(flows)}
    for end in ends:
        mine = [outcome[backup_id(end.execution_id, name)] for name in names]
        assert (end.jobs_completed, end.jobs_failed) == (sum(mine), len(mine) - sum(mine))
        assert end.jobs_created == size == end.jobs_completed + end.jobs_failed + end.jobs_skipped
    assert len({request.backup_id for request in of(BackupRequested, said)}) == len(of(BackupRequested, said))
    assert world.state.in_flight.total == 0
    assert world.decide() == []
