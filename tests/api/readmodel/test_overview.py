"""The overview: its verdict, what needs attention, and the night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from api.readmodel import backlog, overview
from api.readmodel.attention import (
    Backlog,
    Execution,
    ExpiringToken,
    Facts,
    FillingRepository,
    SkippedFlow,
    UnreachableRepository,
    ranked,
    verdict,
)
from api.readmodel.coverage import Judged
from api.readmodel.overdue import FlowLateness, Overdue
from api.readmodel.overview import Beside
from api.readmodel.protection import Standing
from api.responses.calendar import FreezeResponse
from api.responses.coverage import CoverageCounts, FlowOfVm
from schemas import events as e
from services.worker.status import WorkerStatus
from tests.api.readmodel.rows import Told, execution, reading
from tests.support import T0, flow, group, repository, schedule, vm

HOUR = timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")
NIGHTLY = FlowOfVm(id="nightly", name="Nightly", scheduled=True)


def judged(number: int, state: Any, **given: Any) -> Judged:
    about: dict[str, Any] = {"created_at": T0, "flows": [NIGHTLY], "bytes": 0, "good_at": None, "failed_at": None}
    about |= {"failed_in": None, "error": None, "context_id": f"vm-{number}", "vm_name": f"VM {number}"}
    standing = Standing(state=state, reason="so it is", flow_id="nightly" if state == "stale" else None)
    return Judged(**{**about, "standing": standing, **given})


def failing(number: int) -> Judged:
    return judged(number, "failing", failed_in="x", failed_at=T0 + number * HOUR, error="broken")


EXECUTIONS = {"x": Execution(id="x", flow_id="nightly", flow_name="Nightly")}


def facts(*vms: Judged, **given: Any) -> Facts:
    return Facts(vms=vms, executions=EXECUTIONS, **given)


# --- what needs attention --------------------------------------------------------------------------------------------


def test_few_vms_of_one_cause_are_told_one_by_one() -> None:
    found = ranked(facts(*map(failing, range(3))))
    assert [(one.kind, one.subject.kind, one.subject.name, one.count) for one in found] == [
        ("vm_failing", "vm", f"VM {number}", 1) for number in range(3)
    ]
    assert {(one.action.method, one.action.path) for one in found} == {("POST", "/api/v1/executions/x/retry")}
    assert [one.since for one in found] == [T0 + number * HOUR for number in range(3)]


def test_many_vms_of_one_cause_are_one_item_about_the_cause() -> None:
    (found,) = ranked(facts(*map(failing, range(5))))
    assert (found.subject.kind, found.subject.id, found.count, found.since) == ("flow", "nightly", 5, T0)
    assert found.text == "5 VMs of flow 'Nightly' failed in their last backup: 'VM 0', 'VM 1', 'VM 2' and 2 more"
    (stale,) = ranked(facts(*(judged(number, "stale") for number in range(4))))
    assert (stale.kind, stale.count, stale.action.path) == ("vm_stale", 4, "/api/v1/protection-flows/nightly/execute")
    (alone,) = ranked(facts(*(judged(number, "unprotected", flows=[]) for number in range(9))))
    assert (alone.severity, alone.count, alone.action.path) == ("warning", 9, "/vms?state=unprotected")


def test_what_failed_outside_any_flow_is_not_retried() -> None:
    outside = {"x": Execution(id="x", flow_id=None, flow_name="")}
    (found,) = ranked(Facts(vms=[failing(1)], executions=outside))
    assert (found.action.method, found.action.path) == (None, "/vms/vm-1")


def test_a_flow_whose_vms_are_late_is_not_told_twice() -> None:
    late = FlowLateness(flow_id="nightly", name="Nightly", last_success=None, interval=None, overdue=True)
    other, in_time = structs.replace(late, flow_id="o", name="Other"), structs.replace(late, flow_id="i", overdue=False)
    found = ranked(facts(judged(1, "stale"), late=[late, other, in_time]))
    assert [(one.kind, one.subject.id) for one in found] == [("vm_stale", "vm-1"), ("flow_overdue", "o")]


FREEZE = FreezeResponse(since=T0, until=T0 + HOUR, reason="moving", created_by="admin")
EACH: list[tuple[dict[str, Any], str, str, str]] = [
    (
        {"skipped": [SkippedFlow(flow_id="f", flow_name="F", number=3, since=T0, reason="busy")]},
        *("flow_skipped", "warning", "Flow 'F' was skipped 3 times in a row: busy"),
    ),
    (
        {"unreachable": [UnreachableRepository(repository_id="r", name="R", since=T0, error="gone")]},
        *("repository_unreachable", "danger", "its last backup failed: gone"),
    ),
    (
        {"filling": [FillingRepository(repository_id="r", name="R", full_on="2026-11-09", free_bytes=1)]},
        *("repository_filling", "warning", "Repository 'R' is full on 2026-11-09"),
    ),
    ({"tokens": [ExpiringToken(token_id="t", name="T", expires_at=T0)]}, "token_expires", "warning", "Token 'T'"),
    ({"backlog": Backlog(without_worker=2, since=T0)}, "no_worker", "danger", "2 backups wait for one: start a worker"),
    ({"backlog": Backlog(labelled=1, since=T0)}, "no_worker", "danger", "1 backup waits for a worker with labels"),
    ({"backlog": Backlog(stuck=7, since=T0)}, "queue_stuck", "danger", "7 backups wait, and nothing runs"),
    ({"ill": {"recorder": "hung: …"}}, "service", "danger", "The recorder is hung: …"),
    ({"letters": 1}, "dead_letters", "warning", "1 message on the log could not be used"),
    ({"freeze": FREEZE}, "freeze", "info", "Nothing starts by its schedule until 2026-11-01T13:00:00Z: moving"),
]


@pytest.mark.parametrize(("given", "kind", "severity", "text"), EACH)
def test_each_kind_says_what_it_is_and_what_to_do(given: Any, kind: str, severity: str, text: str) -> None:
    (found,) = ranked(facts(**given))
    assert (found.kind, found.severity) == (kind, severity)
    assert text in found.text
    assert found.action.label
    assert found.action.path.startswith("/")
    assert (found.action.method is None) or found.action.path.startswith("/api/v1/")


def test_the_most_urgent_comes_first() -> None:
    given = {name: value for one, *_ in EACH for name, value in one.items()}
    found = [one.severity for one in ranked(facts(failing(1), judged(2, "unprotected"), **given))]
    assert found == sorted(found, key=["danger", "warning", "info"].index)
    assert set(found) == {"danger", "warning", "info"}


# --- the verdict -----------------------------------------------------------------------------------------------------

TOKEN = ranked(facts(tokens=[ExpiringToken(token_id="t", name="T", expires_at=T0)]))
FROZEN = ranked(facts(freeze=FREEZE))


@pytest.mark.parametrize(
    ("counts", "attention", "state", "sentence"),
    [
        ({}, [], "empty", "There are no VMs yet: nothing is protected."),
        ({"excluded": 2}, [], "empty", "Every VM is disabled: nothing is protected."),
        ({"protected": 1}, [], "safe", "1 VM is protected."),
        ({"protected": 1_200, "excluded": 3}, FROZEN, "safe", "1,200 VMs are protected."),
        ({"protected": 4, "pending": 1}, [], "safe", "4 VMs are protected; 1 waits for the first run."),
        ({"pending": 2}, [], "safe", "2 wait for the first run."),
        ({"protected": 4}, TOKEN, "attention", "4 VMs are protected, but one thing needs attention."),
        ({"protected": 4}, TOKEN * 2, "attention", "4 VMs are protected, but 2 things need attention."),
        ({"protected": 4, "unprotected": 1}, [], "attention", "1 of 5 VMs is not protected: 1 is in no flow."),
        (
            {"protected": 4, "failing": 2, "stale": 1, "unprotected": 3},
            [],
            "danger",
            "6 of 10 VMs are not protected: 2 failed last time, 1 has no backup as new as promised, 3 are in no flow.",
        ),
    ],
)
def test_the_verdict(counts: dict[str, int], attention: Any, state: str, sentence: str) -> None:
    found = verdict(CoverageCounts(**counts), attention)
    assert (found.state, found.sentence) == (state, sentence)


# --- the night -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "begin", "end"),
    [
        ("2026-11-20T09:00", "2026-11-19T18:00", "2026-11-20T08:00"),
        ("2026-11-20T20:00", "2026-11-19T18:00", "2026-11-20T08:00"),
        ("2026-11-20T02:00", "2026-11-19T18:00", "2026-11-20T02:00"),
        ("2026-10-25T09:00", "2026-10-24T18:00", "2026-10-25T08:00"),  # an hour longer
    ],
)
def test_the_night_is_the_one_before_this_morning(now: str, begin: str, end: str) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=BERLIN).astimezone(UTC)
    expected = [datetime.fromisoformat(text).replace(tzinfo=BERLIN) for text in (begin, end)]
    assert list(overview.night(at, BERLIN)) == expected


# --- from the tables -------------------------------------------------------------------------------------------------


def definitions() -> list[Told]:
    made = [
        *(vm("vm-1"), vm("vm-2"), group(members=["vm-1", "vm-2"]), repository()),
        schedule(cron_expression="0 * * * *"),
        flow("flow-1", schedule_id="schedule-1"),
        flow("stuck", schedule_id="schedule-1"),
    ]
    return [(T0, one) for one in made]


def skipped(flow_id: str, at: datetime, reason: Any = "overlap", occurrence: datetime | None = T0) -> Told:
    about = {"flow_id": flow_id, "execution_id": f"{flow_id}-{at:%H%M}", "execution_type": "scheduled"}
    return at, e.FlowSkipped(**about, occurrence=occurrence and at, reason=reason, message=f"since {at:%H:%M}")


async def test_of_one_moment(database_url: str) -> None:
    told = [
        *definitions(),
        *execution("flow-1", T0 + HOUR, {"vm-1": "good", "vm-2": "bad"}, status="warning"),
        skipped("flow-1", T0 + HOUR / 2),  # before it ran: no longer of interest
        skipped("flow-1", T0 + 2 * HOUR, "frozen"),
        skipped("flow-1", T0 + 2 * HOUR + HOUR / 2),
        *(skipped("stuck", T0 + number * HOUR) for number in (1, 2)),
        skipped("stuck", T0 + 2 * HOUR + HOUR / 4, occurrence=None),  # by hand
    ]
    now = T0 + 2 * HOUR + timedelta(minutes=20)
    async with reading(database_url, told) as reader:
        found = await overview.find(reader, BERLIN, now, Overdue(), Beside())
        assert found.verdict.state == "danger"
        assert (found.vms.protected, found.vms.failing) == (1, 1)
        assert [(one.kind, one.subject.name) for one in found.attention] == [
            *(("vm_failing", "VM-2"), ("flow_overdue", "stuck"), ("flow_skipped", "stuck")),
        ]
        assert found.attention[2].text == "Flow 'stuck' was skipped 2 times in a row: since 14:00"
        assert found.attention_total == 3
        assert (found.running, found.next_total, found.next_complete) == (0, 48, True)
        assert [(one.flow_name, one.at) for one in found.next[:2]] == [
            ("flow-1", T0 + 3 * HOUR),
            ("stuck", T0 + 3 * HOUR),
        ]
        assert len(found.next) == overview.NEXT
        in_the_morning = await overview.find(reader, BERLIN, T0 + 20 * HOUR, Overdue(), Beside())
        assert in_the_morning.last_night.executions == {}
        tokyo = await overview.find(reader, ZoneInfo("Asia/Tokyo"), T0 + 12 * HOUR, Overdue(), Beside())
        night = tokyo.last_night
        assert (night.executions, night.bytes) == ({"warning": 1}, 100)
        assert (night.backups.completed, night.backups.failed, night.backups.skipped) == (1, 1, 0)


WORKER = WorkerStatus(slots=2, holding=[], engines=["simulated"], position=1)


async def test_backups_that_wait_in_vain(database_url: str) -> None:
    told = [*definitions(), *execution("flow-1", T0 + HOUR, {"vm-1": "runs", "vm-2": "runs"})]
    waiting = [(at, one) for at, one in told if not isinstance(one, e.BackupStarted)]
    later = T0 + 2 * HOUR
    async with reading(database_url, waiting) as reader:
        assert await backlog.find(reader, None, later) == Backlog()
        assert await backlog.find(reader, [], later) == Backlog(without_worker=2, since=T0 + HOUR)
        assert await backlog.find(reader, [WORKER], later) == Backlog(stuck=2, since=T0 + HOUR)
        assert await backlog.find(reader, [WORKER], T0 + HOUR + timedelta(minutes=1)) == Backlog()


async def test_backups_that_wait_for_one_that_runs_do_not_wait_in_vain(database_url: str) -> None:
    told = [*definitions(), *execution("flow-1", T0 + HOUR, {"vm-1": "runs", "vm-2": "runs"})]
    begun = [(at, one) for at, one in told if not (isinstance(one, e.BackupStarted) and one.context_id == "vm-2")]
    async with reading(database_url, begun) as reader:
        assert await backlog.find(reader, [WORKER], T0 + 5 * HOUR) == Backlog()
