"""Which connection goes when there are too many: never one that asks for something, and first the one idle longest."""

from __future__ import annotations

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import limits
from cli.limits import ConnectionLimiter, Limits, descriptors, limits_of


def limiter(total: int = 4, per_address: int = 2) -> ConnectionLimiter[int]:
    return ConnectionLimiter(Limits(total=total, per_address=per_address, backlog=1))


def test_within_the_limits_nobody_goes() -> None:
    full = limiter()
    assert [full.add(number, address) for number, address in enumerate("aabb")] == [None] * 4
    assert len(full) == 4


def test_the_one_that_is_idle_longest_makes_room_at_its_address() -> None:
    full = limiter()
    full.add(1, "a")
    full.add(2, "a")
    full.busy(1)
    full.idle(1)  # it has been idle for a shorter time than the other one now
    assert full.add(3, "a") == 2
    assert full.add(4, "a") == 1
    assert len(full) == 2


def test_those_with_a_request_stay_and_who_comes_is_refused() -> None:
    full = limiter()
    for number in (1, 2):
        full.add(number, "a")
        full.busy(number)
    assert full.add(3, "a") == 3
    assert full.add(4, "b") is None  # others have room
    full.remove(1)
    assert full.add(5, "a") is None


def test_in_all_the_address_with_the_most_makes_room() -> None:
    full = limiter(total=4, per_address=3)
    for number, address in enumerate("baaa"):
        full.add(number, address)
    assert full.add(9, "c") == 1
    assert full.add(10, "d") == 2  # a still has the most
    assert len(full) == 4


def test_when_all_ask_for_something_who_comes_is_refused_from_anywhere() -> None:
    full = limiter(total=2, per_address=2)
    for number, address in enumerate("ab"):
        full.add(number, address)
        full.busy(number)
    assert full.add(7, "c") == 7
    assert len(full) == 2


def test_what_is_not_in_changes_nothing() -> None:
    full = limiter()
    full.busy(1)
    full.idle(1)
    full.remove(1)
    assert len(full) == 0


@given(st.lists(st.tuples(st.sampled_from(["add", "busy", "idle", "remove"]), st.integers(0, 9)), max_size=200))
def test_the_limits_hold_whatever_happens(steps: list[tuple[str, int]]) -> None:
    full, there, busy = limiter(total=5, per_address=3), dict[int, str](), set[int]()
    for step, number in steps:
        if step == "add" and number not in there:
            closed = full.add(number, "abc"[number % 3])
            assert closed not in busy
            there[number] = "abc"[number % 3]
            if closed is not None:
                del there[closed]
        elif step == "busy" and number in there:
            full.busy(number)
            busy.add(number)
        elif step == "idle" and number in there:
            full.idle(number)
            busy.discard(number)
        elif step == "remove":
            full.remove(number)
            there.pop(number, None)
            busy.discard(number)
        assert len(full) == len(there) <= 5
        assert all(list(there.values()).count(address) <= 3 for address in "abc")


@pytest.mark.parametrize("number", [16, 300, 1_024, 20_000])
def test_a_burst_leaves_descriptors_for_the_rest(number: int) -> None:
    found = limits_of(number)
    assert found.total + found.backlog <= max(8, number - limits.RESERVE)
    assert 0 < found.per_address < found.total
    assert found.backlog > 0


def test_the_soft_limit_of_descriptors_is_raised_as_far_as_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: told.append(limit))
    for soft, hard, now in (
        (256, 1_024, 1_024),
        (256, 10**6, 5_434),
        (256, resource.RLIM_INFINITY, 5_434),
        (10**6, 10**6, 5_434),
        (300, 300, 300),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, found=(soft, hard): found)
        assert descriptors() == now
    assert told == [(1_024, 1_024), (5_434, 10**6), (5_434, resource.RLIM_INFINITY), (300, 300)]
