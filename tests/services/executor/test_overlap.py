"""Every overlap policy, for every mix of scheduled and manual triggers, in every state, with a restart in between."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from schemas.base import Message
from schemas.commands import CancelExecution, ExecuteFlow
from schemas.events import FlowBuffered, FlowCancelling, FlowCompleted, FlowSkipped, FlowStarted
from schemas.ids import manual_execution_id, scheduled_execution_id
from services.executor.overlap import BUFFERED, overlap
from tests.services.world import EXECUTION, World, begun, done, house, of
from tests.support import T0, due, flow

POLICIES = ("skip", "buffer_one", "buffer_all", "cancel_other", "allow")


def row(policy: str, *, running: bool, ahead: int = 0, behind: int = 0) -> str:
    """Return what becomes of one trigger among others that wait before and after it."""
    decisions = overlap(policy, running=running, waiting=[True] * (ahead + 1 + behind))  # type: ignore[arg-type]
    return decisions[ahead].action


@pytest.mark.parametrize(
    ("policy", "idle", "running", "one_ahead", "full", "overtaken"),
    [
        ("skip", "start", "skip", "skip", "skip", "skip"),
        ("buffer_one", "start", "wait", "skip", "skip", "wait"),
        ("buffer_all", "start", "wait", "wait", "skip", "wait"),
        ("cancel_other", "start", "cancel", "cancel", "cancel", "skip"),
        ("allow", "start", "start", "start", "start", "start"),
    ],
)
def test_the_table(policy: str, idle: str, running: str, one_ahead: str, full: str, overtaken: str) -> None:
    assert row(policy, running=False) == idle
    assert row(policy, running=True) == running
    assert row(policy, running=True, ahead=1) == one_ahead
    assert row(policy, running=True, ahead=BUFFERED) == full
    assert row(policy, running=True, behind=1) == overtaken


class Script:
    """Triggers of one flow, one after the other; `restart`: a fresh executor after every message."""

    def __init__(self, policy: str, *, restart: bool) -> None:
        self.world = World(*house(overlap_policy=policy, vms=2))
        self.restart = restart
        self.said: list[Any] = []

    def tell(self, *messages: Message) -> list[Any]:
        said: list[Any] = []
        for message in messages:
            self.world.append(message)
            if self.restart:
                self.world.refold()
            said += self.world.settle()
            if self.restart:
                self.world.refold()
                assert self.world.decide() == []
        self.said += said
        return said

    def trigger(self, kind: str, number: int) -> str:
        """Return the id of the execution that this trigger would begin."""
        if kind == "scheduled":
            at = T0 + timedelta(hours=number)
            self.tell(due(at=at))
            return scheduled_execution_id("flow-1", at)
        self.tell(ExecuteFlow(id="flow-1"))
        return next(
            manual_execution_id(entry.envelope.id)
            for entry in reversed(self.world.entries)
            if isinstance(entry.envelope.data, ExecuteFlow)
        )

    def begin(self, execution_id: str) -> None:
        self.tell(*(begun(vm, execution_id) for vm in ("vm-0", "vm-1")))

    def finish(self, execution_id: str) -> None:
        self.tell(*(done(vm, execution_id) for vm in ("vm-0", "vm-1")))

    @property
    def outcomes(self) -> dict[str, str]:
        found = {event.execution_id: "started" for event in of(FlowStarted, self.said)}
        found |= {event.execution_id: f"skipped: {event.reason}" for event in of(FlowSkipped, self.said)}
        return found | {event.execution_id: event.status for event in of(FlowCompleted, self.said)}


@pytest.mark.parametrize("restart", [False, True], ids=["without restart", "restarts"])
@pytest.mark.parametrize("triggers", list(product(["scheduled", "manual"], repeat=3)), ids="-".join)
@pytest.mark.parametrize("policy", POLICIES)
def test_three_triggers_while_the_first_runs(policy: str, triggers: tuple[str, ...], *, restart: bool) -> None:
    script = Script(policy, restart=restart)
    first, second, third = (script.trigger(kind, number) for number, kind in enumerate(triggers))
    while script.world.state.executions:
        script.finish(min(script.world.state.executions.values(), key=lambda one: one.sequence).started.execution_id)
    no = "skipped: overlap"
    expected = {
        "skip": ["success", no, no],
        "buffer_one": ["success", "success", no],
        "buffer_all": ["success"] * 3,
        # nothing had begun, so each is stopped at once and the next takes its place
        "cancel_other": ["cancelled", "cancelled", "success"],
        "allow": ["success"] * 3,
    }[policy]
    assert [script.outcomes[id_] for id_ in (first, second, third)] == expected
    assert script.world.state.triggers == {}
    for ends in (of(FlowCompleted, script.said), of(FlowStarted, script.said)):
        assert len({end.execution_id for end in ends}) == len(ends)


@pytest.mark.parametrize("restart", [False, True], ids=["without restart", "restarts"])
@pytest.mark.parametrize("newer", ["scheduled", "manual"])
def test_cancel_other_waits_until_what_runs_has_stopped(newer: str, *, restart: bool) -> None:
    script = Script("cancel_other", restart=restart)
    old = script.trigger("scheduled", 0)
    script.begin(old)
    overtaken = script.trigger(newer, 1)
    (stop,) = of(FlowCancelling, script.said)
    assert (stop.execution_id, stop.origin) == (old, "overlap")
    assert overtaken in stop.reason
    assert overtaken not in script.outcomes  # it waits for the workers of the old one
    newest = script.trigger(newer, 2)
    assert script.outcomes[overtaken] == "skipped: overlap"
    assert len(of(FlowCancelling, script.said)) == 1
    script.finish(old)  # both were done before they heard
    assert script.outcomes == {old: "success", overtaken: "skipped: overlap", newest: "started"}
    script.finish(newest)
    assert script.outcomes[newest] == "success"


def test_a_policy_that_is_changed_counts_for_what_waits() -> None:
    script = Script("buffer_all", restart=False)
    script.trigger("scheduled", 0)
    waits = script.trigger("scheduled", 1)
    script.tell(flow(overlap_policy="skip", version=2))
    assert script.outcomes[waits] == "skipped: overlap"


def test_two_triggers_at_once_on_an_idle_flow() -> None:
    """The first one runs; the second one finds it running, and nobody waiting."""
    for policy, second in (("skip", 0), ("buffer_one", 1), ("buffer_all", 1)):
        world = World(*house(overlap_policy=policy), due(), due(at=T0 + timedelta(hours=1)))
        world.settle()
        assert len(world.state.executions) == 1
        assert len(world.state.triggers) == second


@pytest.mark.parametrize("newer", ["scheduled", "manual"])
@pytest.mark.parametrize("policy", ["buffer_one", "buffer_all", "cancel_other"])
def test_what_waits_says_so_once_and_for_what(policy: str, newer: str) -> None:
    script = Script(policy, restart=True)
    old = script.trigger("scheduled", 0)
    script.begin(old)
    new = script.trigger(newer, 1)
    (waits,) = of(FlowBuffered, script.said)
    assert (waits.execution_id, waits.waiting_for, waits.overlap_policy) == (new, [old], policy)
    assert (waits.execution_type, waits.flow_name) == (newer, "flow-1")
    script.tell(done("vm-0", old))
    assert len(of(FlowBuffered, script.said)) == 1
    script.finish(old)
    assert script.outcomes[new] == "started"


@pytest.mark.parametrize("policy", ["skip", "allow"])
def test_what_need_not_wait_does_not_say_so(policy: str) -> None:
    script = Script(policy, restart=False)
    for number in range(3):
        script.trigger("manual", number)
    assert of(FlowBuffered, script.said) == []


def test_what_comes_together_waits_for_the_first_of_it() -> None:
    world = World(*house(overlap_policy="buffer_all"), *(due(at=T0 + timedelta(hours=n)) for n in range(3)))
    said = world.settle()
    (started,) = of(FlowStarted, said)
    assert [one.waiting_for for one in of(FlowBuffered, said)] == [[started.execution_id]] * 2


@pytest.mark.parametrize("restart", [False, True], ids=["without restart", "restarts"])
def test_what_waits_can_be_cancelled_and_does_not_run(*, restart: bool) -> None:
    script = Script("buffer_all", restart=restart)
    first = script.trigger("manual", 0)
    script.begin(first)
    second, third = script.trigger("manual", 1), script.trigger("manual", 2)
    stop, no = script.tell(CancelExecution(id=second))
    assert (stop.execution_id, stop.origin) == (second, "asked")
    assert (no.execution_id, no.reason, no.message) == (second, "cancelled", "cancelled by unknown")
    script.finish(first)
    assert script.outcomes == {first: "success", second: "skipped: cancelled", third: "started"}
    (rejected,) = script.tell(CancelExecution(id=second))
    assert rejected.reason.endswith("is not running: there is nothing to cancel")


def test_a_cancel_that_comes_with_its_trigger_cancels_it() -> None:
    """Whether both are read at once or one after the other must not matter."""
    world = World(*house(overlap_policy="buffer_one"), due())
    world.settle()
    later = T0 + timedelta(hours=1)
    waiting = scheduled_execution_id("flow-1", later)
    world.append(due(at=later), CancelExecution(id=waiting))
    assert [type(one) for one in world.settle()] == [FlowBuffered, FlowCancelling, FlowSkipped]
    idle = World(*house(vms=1), due(), CancelExecution(id=EXECUTION))
    assert of(FlowCompleted, idle.settle())[0].status == "cancelled"


def test_a_full_buffer_says_so() -> None:
    world = World(*house(overlap_policy="buffer_all"), *(due(at=T0 + timedelta(hours=n)) for n in range(BUFFERED + 3)))
    no, second = of(FlowSkipped, world.settle())
    assert no.message == (
        f"an execution of this flow is still running, and {BUFFERED} already wait for it (overlap policy buffer_all)"
    )
    assert second.reason == "overlap"
