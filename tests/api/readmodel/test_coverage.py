"""Coverage, now and day by day, on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from api.readmodel import coverage, days, storage
from api.readmodel.coverage import CoverageFilter
from api.readmodel.reader import Page, Reader
from schemas import events as e
from schemas.definitions import Member
from tests.api.readmodel.rows import Told, execution, reading
from tests.support import flow, group, policy, repository, schedule, vm

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 10, 27, 12, tzinfo=UTC)  # two days before, the clocks were put back in Berlin
BORN = datetime(2026, 10, 20, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NIGHT = datetime(2026, 10, 27, 2, tzinfo=UTC)
BIRTH = {"created_at": BORN, "updated_at": BORN}
EVERY = CoverageFilter()


def definitions() -> list[Told]:
    names = ["good", "bad", "late", "mended", "hand", "alone", "off", "out", "gone", "young", "shut", "ended", "parked"]
    vms = [vm(one, enabled=one != "off", labels={"site": "a" if one == "good" else "b"}, **BIRTH) for one in names]
    armed = {"armed_at": BORN, **BIRTH}
    members = [Member(context_id=one) for one in ("good", "bad", "late", "mended", "off", "gone")]
    on_vm = {"target_type": "vm", **armed}
    made = [
        *vms,
        repository(**BIRTH),
        repository("repo-off", enabled=False, **BIRTH),
        policy("policy-off", enabled=False, **BIRTH),
        schedule("nightly", cron_expression="0 2 * * *", **armed),
        schedule("over", cron_expression="0 2 * * *", end_date=date(2026, 10, 25), **armed),
        group("group-1", [*members, Member(context_id="out", enabled=False)], **BIRTH),
        flow("flow-1", schedule_id="nightly", **armed),
        flow("by-hand", target_id="hand", **on_vm),
        flow("disabled", target_id="alone", enabled=False, schedule_id="nightly", **on_vm),
        flow("nowhere", target_id="shut", repository_id="repo-off", schedule_id="nightly", **on_vm),
        flow("over", target_id="ended", schedule_id="over", **on_vm),
        flow("parked", target_id="parked", policy_id="policy-off", schedule_id="nightly", **on_vm),
    ]
    young = flow("new", target_type="vm", target_id="young", schedule_id="nightly", **{**BIRTH, "armed_at": NOW - HOUR})
    deleted = [
        group("group-1", [*members[:-1], Member(context_id="out", enabled=False)], version=2, **BIRTH),
        e.VmDefined(id="gone", version=2, definition=None),
    ]
    return [(BORN, one) for one in (*made, young)] + [(NOW - HOUR, one) for one in deleted]


def runs() -> list[Told]:
    """Return what ran: in the nights up to now; `late` was left out of the last one."""
    return [
        *execution("flow-1", NIGHT - 3 * DAY, dict.fromkeys(("good", "bad", "late", "mended"), "good")),
        *execution("flow-1", NIGHT - DAY, {"good": "good", "bad": "bad", "late": "good", "mended": "skipped"}),
        *execution("flow-1", NIGHT, {"good": "good", "bad": "bad", "mended": "bad"}),
        *execution("flow-1", NIGHT + HOUR, {"mended": "good"}, retry_of="x"),
        *execution("by-hand", NIGHT + 2 * HOUR, {"hand": "good"}, occurrence=None, execution_type="manual"),
        *execution("flow-1", NOW - HOUR / 2, {"good": "runs"}),
        *execution("over", NIGHT - 3 * DAY, {"ended": "good"}),
    ]


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[Reader]:
    async with reading(database_url, [*definitions(), *runs()]) as found:
        yield found


STATES = {
    "good": "protected",
    "bad": "failing",
    "late": "stale",
    "mended": "protected",
    "hand": "unprotected",
    "alone": "unprotected",
    "off": "excluded",
    "out": "unprotected",
    "young": "pending",
    "shut": "unprotected",
    "ended": "unprotected",
    "parked": "unprotected",
}


async def test_each_vm_is_in_its_state_and_deleted_ones_in_none(reader: Reader) -> None:
    found = await coverage.find(reader, EVERY, None, Page(limit=100), NOW)
    assert {one.context_id: one.state for one in found.vms} == STATES
    counts = {name: getattr(found.counts, name) for name in found.counts.__struct_fields__}
    numbers = {"failing": 1, "stale": 1, "unprotected": 6, "pending": 1, "protected": 2, "excluded": 1}
    assert counts == numbers
    assert found.total == 12
    assert [one.state for one in found.vms] == sorted((one.state for one in found.vms), key=coverage.URGENCY.index)


async def test_what_is_shown_of_a_vm(reader: Reader) -> None:
    by_id = {one.context_id: one for one in (await coverage.find(reader, EVERY, None, Page(limit=100), NOW)).vms}
    good, bad, hand = by_id["good"], by_id["bad"], by_id["hand"]
    five = timedelta(minutes=5)
    assert (good.last_good_at, good.last_attempt_at, good.last_error) == (NIGHT + five, NIGHT + five, None)
    assert (good.bytes, good.worst_gap_seconds) == (100, (2 * DAY).total_seconds())
    assert [(one.id, one.name, one.scheduled) for one in good.flows] == [("flow-1", "flow-1", True)]
    assert [(one.group_id, one.enabled) for one in good.groups] == [("group-1", True)]
    assert (bad.last_good_at, bad.last_attempt_at) == (NIGHT - 3 * DAY + five, NIGHT + five)
    assert bad.last_error == "bad is broken"
    assert [(one.id, one.scheduled) for one in hand.flows] == [("by-hand", False)]
    assert by_id["alone"].flows == []
    assert by_id["young"].worst_gap_seconds is None


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (CoverageFilter(state="stale"), ["late"]),
        (CoverageFilter(q="OO"), ["good"]),
        (CoverageFilter(label="site:a"), ["good"]),
        (CoverageFilter(flow_id="flow-1"), ["bad", "late", "good", "mended", "off"]),
        (CoverageFilter(flow_id="by-hand"), ["hand"]),
        (CoverageFilter(group_id="group-1", state="protected"), ["good", "mended"]),
        (CoverageFilter(group_id="nobody"), []),
    ],
)
async def test_filters(reader: Reader, wanted: CoverageFilter, ids: list[str]) -> None:
    found = await coverage.find(reader, wanted, None, Page(limit=100), NOW)
    assert [one.context_id for one in found.vms] == ids
    assert found.total == len(ids)
    matrix = await days.find(reader, wanted, [NOW.date()], BERLIN, None, Page(limit=100), NOW)
    assert (sorted(one.context_id for one in matrix.vms), matrix.counts) == (sorted(ids), found.counts)


async def test_order_and_pages(reader: Reader) -> None:
    async def names(sort: str, **part: int) -> list[str]:
        found = await coverage.find(reader, EVERY, sort, Page(**{"limit": 3, **part}), NOW)
        assert found.total == len(STATES)
        return [one.context_id for one in found.vms]

    assert await names("vm_name") == ["alone", "bad", "ended"]
    assert await names("vm_name", offset=10) == ["shut", "young"]
    assert await names("-vm_name") == ["young", "shut", "parked"]
    assert await names("-last_good_at") == ["hand", "mended", "good"]
    assert (await names("last_good_at", limit=7))[-1] == "bad"
    assert (await names("-state"))[0] == "off"


async def test_a_letter_for_each_day(reader: Reader) -> None:
    shown = days.days_before(NOW, 9, BERLIN)
    found = await days.find(reader, EVERY, shown, BERLIN, "site", Page(limit=100), NOW)
    assert (found.days[0], found.days[-1], found.timezone) == ("2026-10-19", "2026-10-27", "Europe/Berlin")
    assert {one.context_id: one.cells for one in found.vms} == {
        **dict.fromkeys(("alone", "off", "out", "young", "shut", "parked"), " ........"),
        "good": " ....s.ss",
        "bad": " ....s.ff",
        "late": " ....s.s.",
        "mended": " ....s.km",
        "hand": " .......s",
        "ended": " ....s...",
    }
    assert [one.group_name for one in found.groups] == ["group-1"]
    assert {one.context_id: (one.groups, one.label) for one in found.vms}["good"] == ([0], "a")
    assert set("".join(one.cells for one in found.vms)) <= set(found.legend)


async def test_days_begin_at_midnight_of_the_zone_also_when_the_clocks_are_put(database_url: str) -> None:
    """On the 25th of October 2026 Berlin's day has 25 hours: each instant around its ends falls on its own day."""
    at = {
        "first": datetime(2026, 10, 24, 21, 59, tzinfo=UTC),  # 23:59 of the 24th, summer time
        "second": datetime(2026, 10, 24, 22, 0, tzinfo=UTC),  # 00:00 of the 25th
        "third": datetime(2026, 10, 25, 22, 59, tzinfo=UTC),  # 23:59 of the 25th, winter time
        "fourth": datetime(2026, 10, 25, 23, 0, tzinfo=UTC),  # 00:00 of the 26th
    }
    told: list[Told] = [(BORN, one) for one in (*(vm(one, **BIRTH) for one in at), repository(), flow())]
    for name, begin in at.items():
        told += execution("flow-1", begin, {name: "good"})
    async with reading(database_url, told) as reader:
        shown = [date(2026, 10, day) for day in (24, 25, 26, 27)]
        found = await days.find(reader, EVERY, shown, BERLIN, None, Page(limit=100), NOW)
        cells = {one.context_id: one.cells for one in found.vms}
        assert cells == {"first": "s...", "second": ".s..", "third": ".s..", "fourth": "..s."}
        stored = await storage.history(reader, "repo-1", shown, BERLIN)
        assert stored is not None
        assert [(one.backups, one.bytes, one.stored_bytes) for one in stored[1]] == [
            *((0, 0, 0), (2, 200, 200), (2, 200, 400), (0, 0, 400)),  # by when they ended
        ]
        assert stored[2] == 4


async def test_what_a_repository_held_before_the_days_that_are_shown_counts(reader: Reader) -> None:
    shown = days.days_before(NOW, 2, BERLIN)
    found = await storage.history(reader, "repo-1", shown, BERLIN)
    assert found is not None
    _, history, count = found
    assert [(one.backups, one.stored_bytes) for one in history] == [(2, 700), (3, 1_000)]
    assert count == 10
    assert await storage.history(reader, "nobody", shown, BERLIN) is None
    grown = await storage.growing(reader, ["repo-1", "repo-off"], shown, BERLIN)
    assert grown == {"repo-1": [200.0, 500.0], "repo-off": []}
    assert await storage.trouble(reader, "repo-1") is None


def test_the_cells_of_a_vm() -> None:
    shown = [date(2026, 10, day) for day in range(20, 26)]
    assert days.cells("", shown, shown[0]) == "......"
    assert days.cells("002s005f", shown, shown[1]) == " .s..f"
    assert days.cells("000s", shown, shown[2]) == "s ...."  # what is there is shown, whatever its VM's age
