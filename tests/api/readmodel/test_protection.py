"""Whether a VM is protected: each state, and what is due by when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.readmodel.protection import Promise, fires_again, newest_due, standing
from schemas.definitions import ScheduleSpec

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DUE = NOW - 10 * HOUR
LONG_AGO = NOW - 100 * DAY


def promise(flow: str = "nightly", *, since: datetime = LONG_AGO, due: datetime | None = DUE) -> Promise:
    return Promise(flow_id=flow, flow_name=flow, since=since, due=due)


NIGHTLY, NEW, NOTHING_DUE = promise(), promise(since=NOW - HOUR), promise(due=None)
AFTER, BEFORE = DUE + HOUR, DUE - HOUR

TRUTH = [
    # enabled, promises, good, failed, by hand: state
    (False, [NIGHTLY], AFTER, None, False, "excluded"),
    (False, [], None, None, False, "excluded"),
    (False, [NIGHTLY], AFTER, NOW, False, "excluded"),
    (True, [], AFTER, None, False, "unprotected"),
    (True, [], AFTER, None, True, "unprotected"),
    (True, [], None, NOW, True, "unprotected"),
    (True, [NIGHTLY], AFTER, NOW, False, "failing"),
    (True, [NIGHTLY], BEFORE, NOW, False, "failing"),
    (True, [NEW], None, NOW, False, "failing"),
    (True, [NIGHTLY], BEFORE, None, False, "stale"),
    (True, [NIGHTLY], None, None, False, "stale"),
    (True, [NOTHING_DUE, NIGHTLY], BEFORE, None, False, "stale"),  # the strictest counts
    (True, [NEW, NIGHTLY], BEFORE, None, False, "stale"),
    (True, [NEW], None, None, False, "pending"),
    (True, [NOTHING_DUE], None, None, False, "pending"),
    (True, [NEW], BEFORE, None, False, "pending"),  # good ones are there, and older than the new flow wants
    (True, [NIGHTLY], AFTER, None, False, "protected"),
    (True, [NIGHTLY], DUE, None, False, "protected"),
    (True, [NIGHTLY, NEW, NOTHING_DUE], AFTER, None, True, "protected"),
    (True, [NOTHING_DUE], LONG_AGO, None, False, "protected"),
]


@pytest.mark.parametrize(("enabled", "promises", "good", "failed", "by_hand", "state"), TRUTH)
def test_the_state(enabled: bool, promises: Any, good: Any, failed: Any, by_hand: bool, state: str) -> None:
    found = standing(promises, enabled=enabled, good=good, failed=failed, error="broken", by_hand=by_hand)
    assert found.state == state


def test_the_reason_names_what_it_is_about() -> None:
    def reason(*promises: Promise, good: Any = None, failed: Any = None, by_hand: bool = False) -> str:
        return standing(promises, enabled=True, good=good, failed=failed, error="disk full", by_hand=by_hand).reason

    assert reason(NIGHTLY, failed=NOW) == "its last backup failed at 2026-11-20T12:00:00Z: disk full"
    told = (
        "its last good backup began at 2026-11-20T01:00:00Z, and flow 'nightly' was to make one at 2026-11-20T02:00:00Z"
    )
    assert reason(NIGHTLY, good=BEFORE) == told
    assert reason(NIGHTLY).startswith("it has no good backup, and flow 'nightly'")
    assert reason() == "no enabled flow backs it up"
    assert reason(by_hand=True) == "it is backed up only when somebody asks for it"


def test_whose_promise_is_broken_is_told_the_oldest_first() -> None:
    weekly = promise("weekly", due=DUE - 3 * DAY)
    found = standing([NIGHTLY, weekly], enabled=True, good=None, failed=None, error=None, by_hand=False)
    assert (found.state, found.flow_id) == ("stale", "weekly")


def spec(cron: str, **given: Any) -> ScheduleSpec:
    return ScheduleSpec(name="s", cron_expression=cron, **given)


@pytest.mark.parametrize(
    ("cron", "due"),
    [
        ("0 2 * * *", datetime(2026, 11, 20, 2, tzinfo=UTC)),
        ("0 7 * * *", datetime(2026, 11, 19, 7, tzinfo=UTC)),  # a daily one has six hours
        ("0 6 * * *", datetime(2026, 11, 19, 6, tzinfo=UTC)),  # they are over a moment later
        ("0 * * * *", datetime(2026, 11, 20, 11, tzinfo=UTC)),  # an hourly one half an hour
        ("* * * * *", datetime(2026, 11, 20, 11, 54, tzinfo=UTC)),  # none less than five minutes
        ("0 2 * * 1-5", datetime(2026, 11, 20, 2, tzinfo=UTC)),
        ("0 2 1 * *", datetime(2026, 11, 1, 2, tzinfo=UTC)),
        ("0 2 29 2 *", datetime(2024, 2, 29, 2, tzinfo=UTC)),
    ],
)
def test_the_newest_occurrence_that_a_backup_is_due_for(cron: str, due: datetime) -> None:
    assert newest_due(spec(cron), NOW) == due


def test_jitter_is_waited_for() -> None:
    assert newest_due(spec("0 5 * * *", jitter_seconds=7_200), NOW) == datetime(2026, 11, 19, 5, tzinfo=UTC)


def test_nothing_is_due_for_occurrences_in_a_freeze() -> None:
    frozen = (NOW - 3 * DAY, NOW + DAY)
    assert newest_due(spec("0 2 * * *"), NOW, frozen) == datetime(2026, 11, 17, 2, tzinfo=UTC)


def test_nothing_is_due_before_a_schedule_begins() -> None:
    assert newest_due(spec("0 2 * * *", start_date=NOW.date() + DAY), NOW) is None


def test_a_schedule_that_has_ended_fires_no_more() -> None:
    assert fires_again(spec("0 2 * * *"), NOW)
    assert not fires_again(spec("0 2 * * *", end_date=NOW.date()), NOW)


@pytest.mark.parametrize("cron", ["*/7 * * * *", "0 */5 * * *", "30 3 * * 2,5", "0 0,1,2 * * *"])
def test_what_is_due_is_what_is_overdue_of_a_flow(cron: str) -> None:
    """Both say the same of a good backup at any time: `overdue.promise` from the backup on, this one from now back."""
    from api.readmodel.overdue import promise as promised

    schedule = spec(cron)
    row = {name: getattr(schedule, name) for name in schedule.__struct_fields__}
    due = newest_due(schedule, NOW)
    assert due is not None
    for minutes in range(0, 8 * 24 * 60, 13):
        good = NOW - timedelta(minutes=minutes)
        overdue = promised(row, good).overdue_at
        assert (overdue is not None and overdue < NOW) == (good < due), good
