"""Admission: limits per flow, per repository and in all, one backup of a VM at a time, by priority and age."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.events import PlannedBackup
from services.executor.admission import Claim, Limits, Slots, admit, urgency
from tests.support import T0


def backup(name: str, vm: str | None = None) -> PlannedBackup:
    return PlannedBackup(backup_id=name, context_id=vm or f"vm-{name}", vm_name=name)


def queue(
    flow: str,
    *names: str,
    limit: int | None = None,
    priority: int = 0,
    repository: str = "r",
    manual: bool = False,
    since: datetime = T0,
) -> Claim:
    return Claim(
        execution_id=f"x-{flow}",
        flow_id=flow,
        repository_id=repository,
        urgency=urgency(since, manual=manual, priority=priority),
        limit=limit,
        waiting=[backup(name) for name in names],
    )


def admitted(
    *queues: Claim,
    in_flight: Slots | None = None,
    repository: int | None = None,
    total: int | None = None,
    most: int = 99,
) -> list[str]:
    limits = Limits(of_repository=lambda _: repository, total=total)
    found = admit(queues, in_flight or Slots(), limits, most=most)
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
    in_flight = Slots()
    in_flight.add("f", "r", backup("old"))
    assert admitted(queue("f", "a", "b", limit=2), in_flight=in_flight) == ["a"]
    assert admitted(queue("g", "a", "b"), in_flight=in_flight, repository=2) == ["a"]
    assert admitted(queue("g", "a", "b"), in_flight=in_flight, total=1) == []
    in_flight.remove("f", "r", backup("old"))
    assert admitted(queue("f", "a", "b", limit=2), in_flight=in_flight, repository=2, total=2) == ["a", "b"]


def test_higher_priority_goes_first_and_equals_by_age() -> None:
    assert admitted(queue("f", "a"), queue("g", "b", priority=5), queue("h", "c"), total=2) == ["b", "a"]


def test_one_backup_of_a_vm_at_a_time_and_a_busy_vm_holds_up_nobody_else() -> None:
    in_flight = Slots()
    in_flight.add("other", "r", backup("running", vm="vm-a"))
    assert admitted(queue("f", "a", "b"), queue("g", "b", "c"), in_flight=in_flight) == ["b", "c"]


def test_what_is_asked_for_by_hand_goes_before_what_is_scheduled_whatever_its_priority() -> None:
    assert admitted(queue("f", "a", priority=1000), queue("g", "b", manual=True, priority=-1000), total=1) == ["b"]


def test_nothing_starves() -> None:
    """Behind its head start a claim is overtaken by nobody, however urgent the later ones are."""
    old = queue("low", "old", priority=-1000)
    overtakes = [
        queue("high", "new", priority=1000, manual=True, since=T0 + timedelta(days=days)) for days in range(0, 100, 10)
    ]
    assert [admitted(old, one, total=1) == ["new"] for one in overtakes] == [True] * 6 + [False] * 4
