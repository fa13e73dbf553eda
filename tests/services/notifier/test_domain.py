"""Which messages are due, by the log alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.envelope import Stored
from schemas.base import Message
from schemas.definitions import Member
from schemas.events import NotificationDropped, NotificationDue
from services.notifier import domain
from services.notifier.backoff import Backoff
from services.notifier.domain import PATIENCE, evolve, wake_at
from services.notifier.payload import signature
from tests.services.notifier.stage import ended, failure, rule, started
from tests.services.notifier.world import after, appended, decided, delivered, folded
from tests.support import T0, flow, group, history, vm

SOON = T0 + timedelta(hours=1)
LATER = T0 + timedelta(days=2)


def executions(*messages: Message) -> list[str | None]:
    """Return the executions that somebody is told of after these messages."""
    dues = decided(after(flow(), *messages), SOON)
    return [due.events[0].execution_id for due in dues if isinstance(due, NotificationDue)]


def test_from_a_severity_on() -> None:
    ends = (ended("s", "success"), ended("w", "warning"), ended("e", "error"))
    assert executions(rule(severity="info"), *ends) == ["s", "w", "e"]
    assert executions(rule(severity="warning"), *ends) == ["w", "e"]
    assert executions(rule(severity="error"), *ends) == ["e"]


def test_of_some_flows() -> None:
    ends = (ended("a"), ended("b", flow_id="flow-2"))
    assert executions(rule(flows=["flow-2"]), *ends) == ["b"]


def test_of_labels_of_flows_and_of_the_vms_that_they_protect() -> None:
    wanted = {"tier": "gold"}
    definitions = (
        vm("gold", labels={"tier": "gold", "site": "a"}),
        vm("plain"),
        group("mixed", ["plain", "gold"]),
        group("off", [Member(context_id="gold", enabled=False)]),
        flow("by-flow", labels=wanted, target_type="vm", target_id="plain"),
        flow("by-vm", target_type="vm", target_id="gold"),
        flow("by-group", target_id="mixed"),
        flow("by-none", target_id="off"),
    )
    ends = [ended(name, flow_id=name) for name in ("by-flow", "by-vm", "by-group", "by-none", "adhoc")]
    assert executions(*definitions, rule(labels=wanted), *ends) == ["by-flow", "by-vm", "by-group"]


def test_only_the_first_failure_and_the_recovery() -> None:
    ends = [ended("1"), ended("2"), ended("3", "cancelled"), ended("4"), ended("5", "success"), ended("6", "success")]
    ends += [ended("7", "warning", jobs_created=2, jobs_failed=1), ended("8")]
    rules = rule(first_failure=True, recovered=True, severity="error")
    assert executions(rules, *ends) == ["1", "5", "7"]
    assert executions(rule(recovered=True, severity="error"), *ends) == ["1", "2", "4", "5", "7", "8"]


def test_what_a_disabled_notification_had_to_tell_is_dropped() -> None:
    entries = history(flow(), rule(), ended("1"))
    state = folded(entries)
    appended(entries, state, SOON)
    for entry in history(rule(enabled=False, version=2), ended("2"), start=len(entries) + 1):
        evolve(state, entry)
    (dropped,) = decided(state, SOON)
    assert isinstance(dropped, NotificationDropped)
    assert "disabled" in dropped.reason


def test_old_messages_are_dropped() -> None:
    entries = history(flow(), rule(), ended("1"))
    state = folded(entries)
    (due,) = appended(entries, state, SOON)
    assert isinstance(due, NotificationDue)
    assert wake_at(state, SOON) == SOON + PATIENCE
    assert decided(state, SOON + PATIENCE - timedelta(seconds=1)) == []
    (dropped,) = decided(state, SOON + PATIENCE)
    assert isinstance(dropped, NotificationDropped)
    assert (dropped.delivery_id, dropped.reason) == (due.delivery_id, "it could not be delivered for 3 days")


def test_too_many_messages_are_dropped_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "MOST_WAITING", 2)
    entries = history(flow(), rule(), ended("1"), ended("2"))
    state = folded(entries)
    first, _ = appended(entries, state, SOON)
    evolve(state, history(ended("3"), start=len(entries) + 1)[0])
    dropped, due = decided(state, SOON)
    assert isinstance(dropped, NotificationDropped)
    assert isinstance(first, NotificationDue)
    assert isinstance(due, NotificationDue)
    assert dropped.delivery_id == first.delivery_id
    assert due.events[0].execution_id == "3"


def test_a_digest_ends_after_its_minutes() -> None:
    entries = history(flow(), rule(digest_minutes=30), ended("1"), ended("2"))
    state = folded(entries)
    end = entries[2].envelope.time + timedelta(minutes=30)
    assert wake_at(state, SOON) == end
    assert decided(state, end - timedelta(seconds=1)) == []
    (due,) = appended(entries, state, end)
    assert isinstance(due, NotificationDue)
    assert (due.total, due.through, due.digest) == (2, 4, end)
    assert decided(state, LATER) == []


def test_a_daily_digest_ends_at_its_time_of_day() -> None:
    entries = history(flow(), rule(digest_at="07:30", timezone="Europe/Berlin"), ended("1"))
    state = folded(entries)
    end = T0.replace(day=2, hour=6, minute=30)
    assert wake_at(state, SOON) == end
    assert decided(state, end - timedelta(seconds=1)) == []
    (due,) = appended(entries, state, end + timedelta(hours=1))
    assert isinstance(due, NotificationDue)
    assert (due.total, due.digest) == (1, end)
    assert decided(state, end + timedelta(days=2)) == []  # nothing happened, and nobody asked for that
    assert wake_at(state, end + timedelta(hours=2)) == end + timedelta(hours=1) + PATIENCE


def test_a_daily_digest_says_that_nothing_happened_when_asked_to() -> None:
    entries = history(flow(), rule(digest_at="07:30", digest_empty=True))
    state = folded(entries)
    end = T0.replace(day=2, hour=7, minute=30)
    assert decided(state, end - timedelta(seconds=1)) == []
    (due,) = appended(entries, state, end)
    assert isinstance(due, NotificationDue)
    assert (due.total, due.title) == (0, "rule-1: nothing happened")
    assert decided(state, end + timedelta(hours=23)) == []
    assert len(decided(state, end + timedelta(days=2))) == 1  # of the last of those days


def test_a_large_digest_counts_what_it_does_not_list() -> None:
    entries = history(flow(), rule(digest_minutes=1), *(ended(f"x-{n}") for n in range(200)))
    state = folded(entries)
    (due,) = appended(entries, state, LATER)
    assert isinstance(due, NotificationDue)
    assert (due.total, len(due.events), due.through) == (200, 50, 202)
    assert due.body.endswith("- and 150 more events")
    assert decided(state, LATER) == []


def test_a_zone_that_is_gone_stops_nobody() -> None:
    entries = history(flow(), rule(digest_at="07:30", timezone="Nowhere/Atlantis"), ended("1"))
    (due,) = appended(entries, folded(entries), LATER)
    assert isinstance(due, NotificationDue)


def test_an_end_that_is_on_the_log_twice_is_told_once() -> None:
    entries = history(flow(), rule(), ended("1"))
    state = folded(entries)
    appended(entries, state, SOON)
    again = history(ended("1"), start=3)[0]
    evolve(state, Stored(**{name: getattr(again, name) for name in again.__struct_fields__} | {"sequence": 99}))
    assert decided(state, SOON) == []


def test_a_failure_that_is_reported_after_the_end_is_forgotten() -> None:
    state = after(flow(), started("1"), failure("1", "vm-1"), ended("1"), failure("1", "vm-2"))
    assert state.failures == {}
    assert state.oldest is None


STEPS = st.lists(
    st.tuples(st.sampled_from(["error", "success", "cancelled", "warning"]), st.sampled_from(["flow-1", "flow-2"])),
    max_size=12,
)


@given(steps=STEPS, crash=st.integers(0, 12), first=st.booleans(), recovered=st.booleans())
def test_a_restart_at_any_point_tells_the_same_once_and_in_order(
    steps: list[tuple[str, str]], crash: int, first: bool, recovered: bool
) -> None:
    rules = (rule("a", first_failure=first, recovered=recovered), rule("b", severity="info"))
    entries = history(flow("flow-1"), flow("flow-2"), *rules)
    state = folded(entries)
    told: list[NotificationDue] = []
    for number, (status, flow_id) in enumerate(steps):
        (entry,) = history(ended(f"x-{number}", status, flow_id=flow_id), start=len(entries) + 1)
        entries.append(entry)
        evolve(state, entry)
        if number == crash:
            state = folded(entries)  # all that was known is gone, but for the log
        told += [due for due in appended(entries, state, SOON) if isinstance(due, NotificationDue)]
        if number % 3 == 0 and told:
            (settled,) = history(delivered(told[-1]), start=len(entries) + 1)
            entries.append(settled)
            evolve(state, settled)
    assert len({due.delivery_id for due in told}) == len(told)
    for one in ("a", "b"):
        sequences = [due.through for due in told if due.notification_id == one]
        assert sequences == sorted(sequences)
        waiting = [waits.due.through for waits in state.receivers[one].waiting.values()]
        assert waiting == sorted(waiting)
    assert len([due for due in told if due.notification_id == "b"]) == len(steps)
    assert decided(folded(entries), SOON) == []


@given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_pauses_grow_up_to_the_longest(attempt: int, chance: float) -> None:
    backoff = Backoff(first=5, longest=600)
    pause = backoff.pause(attempt, chance)
    assert 2.5 <= pause <= 600
    assert backoff.pause(attempt + 1, chance) >= pause


def test_the_signature_is_over_time_and_body() -> None:
    # printf '1764038400.{}' | openssl dgst -sha256 -hmac key
    wanted = "07a906bdae9d897ad5894c3f49285779dd2d776e1dcad7139ff848b3529ca75c"
    assert signature(b"key", "1764038400", b"{}") == f"sha256={wanted}"
