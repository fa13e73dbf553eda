"""Which workers a request is for, and what becomes of it when labels change while it waits."""

from __future__ import annotations

from typing import Any

from schemas.base import Message
from schemas.events import (
    BackupAbandoned,
    BackupRequested,
    BackupRetrying,
    BackupSkipped,
    BackupStarted,
    FlowCompleted,
)
from schemas.ids import backup_id
from schemas.labels import pool_of
from tests.services.world import EXECUTION, World, done, house
from tests.support import due, repository, vm

A, B = {"site": "a"}, {"site": "b"}


def begun(*changes: Message, vms: int = 1) -> tuple[World, list[Any]]:
    world = World(*house(*changes, due(), vms=vms))
    return world, world.settle()


def requests(said: list[Any]) -> list[tuple[str, dict[str, str], int]]:
    found = [event for event in said if isinstance(event, BackupRequested)]
    assert all(event.pool == pool_of(event.worker_labels) for event in found)
    return [(event.context_id, event.worker_labels, event.round) for event in found]


def attempt(event: type[Any], **fields: Any) -> Any:
    about = {"flow_id": "flow-1", "execution_id": EXECUTION, "backup_id": backup_id(EXECUTION, "vm-0")}
    return event(**about, context_id="vm-0", attempt=1, **fields)


def test_without_labels_any_worker_may_serve_it() -> None:
    _, said = begun()
    assert requests(said) == [("vm-0", {}, 1)]


def test_it_requires_the_labels_of_the_vm_and_of_the_repository() -> None:
    _, said = begun(repository(worker_labels=A), vm("vm-1", worker_labels={"tier": "fast"}), vms=2)
    assert requests(said) == [("vm-0", A, 1), ("vm-1", {**A, "tier": "fast"}, 1)]


def test_what_no_worker_can_serve_is_skipped_with_the_reason_and_the_others_go_on() -> None:
    world, said = begun(repository(worker_labels=A), vm("vm-1", worker_labels=B), vms=2)
    assert requests(said) == [("vm-0", A, 1)]
    (skipped,) = [event for event in said if isinstance(event, BackupSkipped)]
    assert skipped.reason == ("no worker can have both site=b and site=a, as VM 'VM-1' and repository 'repo-1' require")
    world.append(done("vm-0"))
    (completed,) = [event for event in world.settle() if isinstance(event, FlowCompleted)]
    assert completed.status == "warning", "what is not protected is not passed over in silence"
    assert completed.error_message is not None
    assert "no worker can have both" in completed.error_message


def test_a_request_that_waits_goes_to_those_who_may_serve_it_now() -> None:
    world, _ = begun(repository(worker_labels=A))
    (first,) = [entry.sequence for entry in world.entries if isinstance(entry.envelope.data, BackupRequested)]
    world.append(repository(worker_labels=B, version=2))
    said = world.settle()
    assert [event.request for event in said if isinstance(event, BackupAbandoned)] == [first]
    assert requests(said) == [("vm-0", B, 2)]
    assert world.state.in_flight.total == 1, "it has kept its slot"
    world.append(vm("vm-0", worker_labels={"tier": "fast"}, version=2))
    assert requests(world.settle()) == [("vm-0", {**B, "tier": "fast"}, 3)]
    world.append(vm("vm-0", version=3, description="x"), vm("vm-0", worker_labels={"tier": "fast"}, version=4))
    assert world.settle() == [], "nothing has changed in the end"


def test_a_request_that_waits_is_skipped_when_labels_contradict_each_other_now() -> None:
    world, _ = begun(repository(worker_labels=A))
    world.append(vm("vm-0", worker_labels=B, version=2))
    said = world.settle()
    assert [type(event) for event in said] == [BackupAbandoned, BackupSkipped, FlowCompleted]


def test_what_a_worker_is_at_work_on_stays_there() -> None:
    world, _ = begun(repository(worker_labels=A))
    world.append(attempt(BackupStarted, worker="w"), repository(worker_labels=B, version=2))
    assert world.settle() == []


def test_its_next_attempt_is_made_by_those_who_may_serve_it_then() -> None:
    world, _ = begun(repository(worker_labels=A))
    world.append(attempt(BackupStarted, worker="w"), repository(worker_labels=B, version=2))
    world.append(attempt(BackupRetrying, error="x", delay_seconds=30))
    assert requests(world.settle()) == [("vm-0", B, 2)]


def test_a_worker_may_take_it_before_the_change_is_decided_on() -> None:
    world, _ = begun(repository(worker_labels=A))
    world.append(repository(worker_labels=B, version=2), attempt(BackupStarted, worker="w"))
    assert world.settle() == []


def test_a_request_that_an_executor_without_labels_has_made_is_made_again() -> None:
    """While versions are upgraded one by one."""
    world, said = begun()
    (old,) = [event for event in said if isinstance(event, BackupRequested)]
    world = World(*house(repository(worker_labels=A), due(), vms=1))
    (batch,) = world.decide()
    world.append(*(one.event for one in batch if not isinstance(one.event, BackupRequested)), old)
    assert requests(world.settle()) == [("vm-0", A, 2)]


def test_after_a_crash_the_log_says_the_same() -> None:
    world, _ = begun(repository(worker_labels=A))
    world.append(repository(worker_labels=B, version=2))
    before = [one.event for batch in world.decide() for one in batch]
    assert before
    world.refold()
    assert [one.event for batch in world.decide() for one in batch] == before
