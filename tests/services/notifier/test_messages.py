"""What people read, word by word."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.base import Message
from schemas.events import FlowMissed, FlowOverdue, FlowSkipped, FlowStarted, NotificationDue
from services.notifier.domain import State, decide
from tests.services.notifier.stage import ended, failure, rule, started
from tests.services.notifier.world import after
from tests.support import T0, flow, vm

SETTING = (flow(name="nightly"), vm("vm-1", vm_name="db1"), vm("vm-2", vm_name="web1"))


def told(*messages: Message, **given: object) -> list[NotificationDue]:
    rules = rule(name="ops", severity="info", events=EVERY, **given)
    state: State = after(*SETTING, rules, *messages)
    dues = [decision.event for batch in decide(state, T0 + timedelta(days=1)) for decision in batch]
    return [due for due in dues if isinstance(due, NotificationDue)]


EVERY = [
    *("flow.started", "flow.completed", "flow.skipped", "flow.missed", "flow.overdue"),
    *("backup.failed", "backup.orphaned"),
]


@pytest.mark.parametrize(
    ("message", "title"),
    [
        (ended("x", jobs_created=40, jobs_failed=3), "Flow 'nightly' failed: 3 of 40 VMs"),
        (ended("x"), "Flow 'nightly' failed: 1 of 1 VM"),
        (ended("x", jobs_failed=0, error_message="it ran too long"), "Flow 'nightly' failed: it ran too long"),
        (ended("x", "success", jobs_created=1), "Flow 'nightly' succeeded: 1 VM backed up"),
        (ended("x", "success", jobs_created=1400), "Flow 'nightly' succeeded: 1,400 VMs backed up"),
        (ended("x", "warning", jobs_created=9, jobs_skipped=2), "Flow 'nightly' left out 2 of 9 VMs"),
        (
            ended("x", "warning", jobs_created=0, error_message="the group is empty"),
            "Flow 'nightly' ended with a warning: the group is empty",
        ),
        (
            ended("x", "cancelled", jobs_created=9, jobs_completed=4),
            "Flow 'nightly' was cancelled: 4 of 9 VMs backed up",
        ),
        (ended("x", flow_id="adhoc"), "A backup outside any flow failed: 1 of 1 VM"),
        (
            FlowMissed(flow_id="flow-1", schedule_id="s", first=T0, last=T0, count=1),
            "Flow 'nightly' missed 1 run, at 2026-11-01 12:00 UTC",
        ),
        (
            FlowMissed(flow_id="flow-1", schedule_id="s", first=T0, last=T0 + timedelta(hours=2), count=3),
            "Flow 'nightly' missed 3 runs, from 2026-11-01 12:00 UTC to 2026-11-01 14:00 UTC",
        ),
        (
            FlowSkipped(
                flow_id="flow-1",
                execution_id="x",
                execution_type="scheduled",
                occurrence=T0,
                reason="overlap",
                message="another execution runs",
            ),
            "Flow 'nightly' did not run: another execution runs",
        ),
        (
            FlowOverdue(flow_id="flow-1", execution_id="x", deadline="finish", passed_at=T0),
            "Flow 'nightly' runs longer than its policy allows, and is stopped",
        ),
        (
            FlowOverdue(flow_id="flow-1", execution_id="x", deadline="stop", passed_at=T0, context_id="vm-1"),
            "Flow 'nightly' was to stop backing up VM 'db1', and its worker does not respond",
        ),
        (failure("x", "vm-1", "no space left\non device"), "Flow 'nightly' could not back up VM 'db1': no space left"),
    ],
)
def test_titles(message: Message, title: str) -> None:
    assert [due.title for due in told(message)] == [title]


def test_vms_that_failed_are_named() -> None:
    (*_, due) = told(
        started("x", jobs=40),
        failure("x", "vm-1", "no space left"),
        failure("x", "vm-2", "the disk is gone"),
        ended("x", "warning", jobs_created=40, jobs_completed=38, jobs_failed=2),
    )
    assert due.title == "Flow 'nightly' failed: 2 of 40 VMs (db1: no space left; web1: the disk is gone)"
    assert due.body == (
        "Flow 'nightly' failed: 2 of 40 VMs (db1: no space left; web1: the disk is gone)\n"
        "\n"
        "At: 2026-11-01 12:00 UTC\n"
        "Execution: x\n"
        "VMs: 38 backed up, 2 failed, 0 skipped\n"
        "- db1: no space left\n"
        "- web1: the disk is gone"
    )


def test_many_vms_are_counted() -> None:
    failures = [failure("x", f"vm-{number}", "no") for number in range(3, 103)]
    (*_, due) = told(started("x", jobs=100), *failures, ended("x", jobs_created=100, jobs_failed=100))
    assert due.title == "Flow 'nightly' failed: 100 of 100 VMs (vm-3: no; vm-4: no; vm-5: no; …)"
    assert due.body.endswith("- vm-22: no\n- and 80 more VMs")


def test_a_digest_lists_what_happened() -> None:
    (due,) = told(ended("x"), ended("y", "success"), digest_minutes=10, timezone="Europe/Berlin")
    assert due.title == "ops: 2 events, 1 error"
    assert due.body == (
        "ops: 2 events, 1 error.\n"
        "\n"
        "- 2026-11-01 13:00 Europe/Berlin  Flow 'nightly' failed: 1 of 1 VM\n"
        "- 2026-11-01 13:00 Europe/Berlin  Flow 'nightly' has recovered: 1 VM backed up"
    )


def test_what_begins_is_told_to_those_who_ask() -> None:
    event = started("x", jobs=2)
    assert isinstance(event, FlowStarted)
    assert [due.title for due in told(event)] == ["Flow 'nightly' started: 2 VMs"]
