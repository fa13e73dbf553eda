"""The calendar: what matches, in which zone, across changes of the clocks; and what never could."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.definitions import ScheduleSpec
from services.scheduler.calendar import fault, next_occurrence, occurrences


def spec(expression: str, timezone: str = "UTC") -> ScheduleSpec:
    return ScheduleSpec(name="s", cron_expression=expression, timezone=timezone)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    ["* * * * *", "0 2 * * *", "*/15 1-5 * * mon-fri", "@daily", "@hourly", "0 0 * * THU", "0 0 1 MAR *", "0 0 29 2 *"],
)
def test_good_expressions(expression: str) -> None:
    assert fault(spec(expression)) is None


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("0 0 31 2 *", "ever matches"),
        ("* * * *", "4 fields"),
        ("0 0 0 * * *", "6 fields"),
        ("60 * * * *", "ever matches"),
        ("every day", "2 fields"),
        ("a b c d e", "ever matches"),
        ("@reboot", "none of"),
        ("R * * * *", "R and H"),
        ("H H * * *", "R and H"),
        ("0 H(0-5) * * *", "R and H"),
    ],
)
def test_bad_expressions_say_why(expression: str, why: str) -> None:
    found = fault(spec(expression))
    assert found is not None
    assert found.field == "cron_expression"
    assert why in found.reason


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "Europe", "x" * 64, "\x00"])
def test_bad_time_zones_say_why(zone: str) -> None:
    found = fault(spec("* * * * *", zone))
    assert found is not None
    assert found.field == "timezone"


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        # the zone counts: two at night in Berlin is midnight or one o'clock in UTC
        ("0 2 * * *", "Europe/Berlin", "2026-07-01T12:00", ["2026-07-02T00:00", "2026-07-03T00:00"]),
        ("0 2 * * *", "Europe/Berlin", "2026-12-01T12:00", ["2026-12-02T01:00", "2026-12-03T01:00"]),
        # spring: 02:30 does not exist on 29 March and is shifted to the end of the gap
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        # autumn: 02:30 comes twice on 25 October and fires once
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        # and not again when the search begins between the two
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:45", ["2026-10-26T01:30"]),
        # patterns fire at every instant
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-24T23:45",
            ["2026-10-25T00:00", "2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-25T02:00"],
        ),
        ("@daily", "America/New_York", "2026-11-01T02:00", ["2026-11-01T04:00", "2026-11-02T05:00"]),
    ],
)
def test_occurrences(expression: str, zone: str, after: str, expected: list[str]) -> None:
    found = islice(occurrences(spec(expression, zone), utc(after)), len(expected))
    assert list(found) == [utc(one) for one in expected]


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Pacific/Auckland"]


@given(
    expression=st.sampled_from(["* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "15 1 * * sun", "0 0 1 * *"]),
    zone=st.sampled_from(ZONES),
    after=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001  made aware below
)
def test_occurrences_ascend_and_are_the_same_from_anywhere(expression: str, zone: str, after: datetime) -> None:
    start = after.replace(tzinfo=UTC)
    schedule = spec(expression, zone)
    found = list(islice(occurrences(schedule, start), 6))
    assert all(one > start for one in found)
    assert found == sorted(set(found))
    # whoever begins just before one of them finds it next: a restart changes nothing
    for previous, one in pairwise(found):
        assert next_occurrence(schedule, previous) == one
        assert next_occurrence(schedule, one - timedelta(microseconds=1)) == one
