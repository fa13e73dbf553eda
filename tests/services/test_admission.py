"""Admission: limits per flow, per repository and in all, one backup of a VM at a time, by priority and age."""

from __future__ import annotations

from schemas.events import PlannedBackup
from services.executor.admission import InFlight, Queue, admit


def backup(name: str, vm: str | None = None) -> PlannedBackup:
    return PlannedBackup(backup_id=name, context_id=vm or f"vm-{name}", vm_name=name)


def queue(flow: str, *names: str, limit: int | None = None, priority: int = 0, repository: str = "r") -> Queue:
    return Queue(
        execution_id=f"x-{flow}",
        flow_id=flow,
        repository_id=repository,
        priority=priority,
        limit=limit,
        waiting=[backup(name) for name in names],
    )


def admitted(
    *queues: Queue,
    in_flight: InFlight | None = None,
    repository: int | None = None,
    total: int | None = None,
    most: int = 99,
) -> list[str]:
    found = admit(queues, in_flight or InFlight(), repository_limit=lambda _: repository, total_limit=total, most=most)
    return [one.backup_id for _, one in found]


def test_without_limits_all_start_in_order() -> None:
    assert admitted(queue("f", "a", "b"), queue("g", "c")) == ["a", "b", "c"]


def test_limits() -> None:
    assert admitted(queue("f", "a", "b", limit=1), queue("g", "c")) == ["a", "c"]
    assert admitted(queue("f", "a", "b"), queue("g", "c"), repository=2) == ["a", "b"]
    assert admitted(queue("f", "a", "b"), queue("g", "c", repository="s"), repository=1) == ["a", "c"]
    assert admitted(queue("f", "a", "b"), queue("g", "c"), total=2) == ["a", "b"]
    assert admitted(queue("f", "a", "b"), most=1) == ["a"]


def test_what_is_in_flight_counts_until_it_has_ended() -> None:
    in_flight = InFlight()
    in_flight.add("f", "r", backup("old"))
    assert admitted(queue("f", "a", "b", limit=2), in_flight=in_flight) == ["a"]
    assert admitted(queue("g", "a", "b"), in_flight=in_flight, repository=2) == ["a"]
    assert admitted(queue("g", "a", "b"), in_flight=in_flight, total=1) == []
    in_flight.remove("f", "r", backup("old"))
    assert admitted(queue("f", "a", "b", limit=2), in_flight=in_flight, repository=2, total=2) == ["a", "b"]


def test_higher_priority_goes_first_and_equals_by_age() -> None:
    assert admitted(queue("f", "a"), queue("g", "b", priority=5), queue("h", "c"), total=2) == ["b", "a"]


def test_one_backup_of_a_vm_at_a_time_and_a_busy_vm_holds_up_nobody_else() -> None:
    in_flight = InFlight()
    in_flight.add("other", "r", backup("running", vm="vm-a"))
    assert admitted(queue("f", "a", "b"), queue("g", "b", "c"), in_flight=in_flight) == ["b", "c"]
