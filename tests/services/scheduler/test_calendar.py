"""The calendar: what matches, in which zone, across changes of the clocks; and what never could."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.definitions import Exclusion, ScheduleSpec
from services.scheduler.calendar import annotated, jitter, next_occurrence, occurrences
from services.scheduler.validation import never_fires, validate


def spec(expression: str, timezone: str = "UTC") -> ScheduleSpec:
    return ScheduleSpec(name="s", cron_expression=expression, timezone=timezone)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    ["* * * * *", "0 2 * * *", "*/15 1-5 * * mon-fri", "@daily", "@hourly", "0 0 * * THU", "0 0 1 MAR *", "0 0 29 2 *"],
)
def test_good_expressions(expression: str) -> None:
    assert list(validate(spec(expression))) == []


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
    (found,) = validate(spec(expression))
    assert found is not None
    assert found.field == "cron_expression"
    assert why in found.reason


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "Europe", "x" * 64, "\x00"])
def test_bad_time_zones_say_why(zone: str) -> None:
    (found,) = validate(spec("* * * * *", zone))
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


# --- exclusions, inclusions, ranges, several expressions, jitter ------------------------------------------------------


def notes(schedule: ScheduleSpec, after: str, count: int) -> list[tuple[str, str | None]]:
    found = islice(annotated(schedule, utc(after)), count)
    return [(f"{one.at:%m-%dT%H:%M}", one.note) for one in found]


def test_exclusions_are_named_and_do_not_fire() -> None:
    schedule = ScheduleSpec(
        name="s",
        cron_expression="0 */6 * * *",
        exclusions=[
            Exclusion(name="Saturdays", weekdays=["sat"]),
            Exclusion(name="Christmas", first_date=date(2026, 12, 24), last_date=date(2026, 12, 25)),
            Exclusion(name="office hours", weekdays=["mon"], from_time=time(8), to_time=time(18)),
        ],
    )
    assert notes(schedule, "2026-12-04T12:00", 4) == [  # a Friday
        ("12-04T18:00", None),
        *((f"12-05T{hour:02}:00", "excluded: Saturdays") for hour in (0, 6, 12)),
    ]
    assert notes(schedule, "2026-12-07T05:00", 3) == [
        ("12-07T06:00", None),
        ("12-07T12:00", "excluded: office hours"),
        ("12-07T18:00", None),
    ]
    assert next_occurrence(schedule, utc("2026-12-23T20:00")) == utc("2026-12-27T00:00")  # the 26th is a Saturday


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    night = Exclusion(name="Friday night", weekdays=["fri"], from_time=time(22), to_time=time(6))
    schedule = ScheduleSpec(name="s", cron_expression="0 1,23 * * *", exclusions=[night])
    assert notes(schedule, "2026-12-03T22:00", 6) == [  # a Thursday
        ("12-03T23:00", None),
        ("12-04T01:00", None),
        ("12-04T23:00", "excluded: Friday night"),
        ("12-05T01:00", "excluded: Friday night"),
        ("12-05T23:00", None),
        ("12-06T01:00", None),
    ]


def test_exclusions_are_local_times() -> None:
    berlin = Exclusion(name="morning", from_time=time(8), to_time=time(9))
    schedule = ScheduleSpec(name="s", cron_expression="30 8 * * *", timezone="Europe/Berlin", exclusions=[berlin])
    assert {note for _, note in notes(schedule, "2026-03-20T00:00", 20)} == {"excluded: morning"}
    assert list(occurrences(schedule, utc("2026-03-20T00:00"), utc("2026-04-20T00:00"))) == []


def test_what_is_included_fires_whatever_is_excluded() -> None:
    schedule = ScheduleSpec(
        name="s",
        cron_expression="0 2 * * *",
        timezone="Europe/Berlin",
        exclusions=[Exclusion(name="December", first_date=date(2026, 12, 1))],
        inclusions=[datetime(2026, 12, 24, 13, 0), datetime(2026, 11, 30, 2, 0)],  # noqa: DTZ001  local times
        end_date=date(2026, 12, 10),
    )
    found = list(occurrences(schedule, utc("2026-11-28T12:00")))
    assert found == [utc("2026-11-29T01:00"), utc("2026-11-30T01:00"), utc("2026-12-24T12:00")]


def test_several_expressions_are_a_union() -> None:
    schedule = ScheduleSpec(
        name="s", cron_expression="0 2 * * *", more_expressions=["0 2 * * sun", "30 12 * * *", "@daily"]
    )
    assert notes(schedule, "2026-12-05T12:00", 4) == [
        ("12-05T12:30", None),
        ("12-06T00:00", None),
        ("12-06T02:00", None),
        ("12-06T12:30", None),
    ]


def test_a_schedule_begins_and_ends() -> None:
    days = {"start_date": date(2026, 12, 1), "end_date": date(2026, 12, 2)}
    schedule = ScheduleSpec(name="s", cron_expression="0 2 * * *", **days)
    assert list(occurrences(schedule, utc("2020-01-01T00:00"))) == [utc("2026-12-01T02:00"), utc("2026-12-02T02:00")]
    assert next_occurrence(schedule, utc("2026-12-02T02:00")) is None


@pytest.mark.parametrize(
    ("given_", "field", "why"),
    [
        ({"more_expressions": ["* * *"]}, "more_expressions", "3 fields"),
        ({"start_date": date(2026, 2, 1), "end_date": date(2026, 1, 1)}, "end_date", "before it starts"),
        ({"exclusions": [Exclusion(name="x")]}, "exclusions", "names no weekdays"),
        ({"exclusions": [Exclusion(name="x", from_time=time(1))]}, "exclusions", "both from_time and to_time"),
        ({"exclusions": [Exclusion(name="x", from_time=time(1), to_time=time(1))]}, "exclusions", "at the same time"),
        (
            {"exclusions": [Exclusion(name="x", first_date=date(2026, 2, 1), last_date=date(2026, 1, 1))]},
            "exclusions",
            "ends before it begins",
        ),
    ],
)
def test_bad_schedules_say_why(given_: dict[str, object], field: str, why: str) -> None:
    (found,) = validate(ScheduleSpec(name="s", cron_expression="0 2 * * *", **given_))  # type: ignore[arg-type]
    assert found is not None
    assert found.field == field
    assert why in found.reason


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("5-1 * * * *", "ends before it begins"),
        ("*/61 * * * *", "longer than the field"),
        ("0 0 15W * *", "weekday (W)"),
    ],
)
def test_what_croniter_would_take_for_something_else_is_refused(expression: str, why: str) -> None:
    (found,) = validate(spec(expression))
    assert found is not None
    assert why in found.reason


def test_a_range_of_one_is_one() -> None:
    """croniter takes `5-5` for the whole field."""
    assert notes(spec("5-5 2-2 * * *"), "2026-12-01T00:00", 2) == [("12-01T02:05", None), ("12-02T02:05", None)]


def test_the_spread_is_the_same_for_ever_and_different_for_each_flow() -> None:
    schedule = ScheduleSpec(name="s", cron_expression="0 2 * * *", jitter_seconds=600)
    offsets = [jitter(schedule, f"flow-{number}").total_seconds() for number in range(1000)]
    assert min(offsets) < 10
    assert 590 < max(offsets) <= 600
    assert 250 < sum(offsets) / len(offsets) < 350
    assert jitter(schedule, "flow-1") == timedelta(seconds=FLOW_1)
    assert jitter(spec("0 2 * * *"), "flow-1") == timedelta()


FLOW_1 = 362  # seconds; if this changes, every flow in the field begins at another time


# --- what never fires -------------------------------------------------------------------------------------------------

TODAY = utc("2026-11-24T12:00")
NEVER = Exclusion(name="for ever", first_date=date(2026, 1, 1))


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({"exclusions": [NEVER]}, "exclusions"),
        ({"exclusions": [Exclusion(name="x", last_date=date(2040, 1, 1))]}, "exclusions"),
        ({"exclusions": [Exclusion(name="x", from_time=time(1), to_time=time(3))]}, "exclusions"),
        ({"exclusions": [NEVER], "inclusions": [datetime(2040, 1, 1, 12)]}, "exclusions"),  # noqa: DTZ001  local times
        ({"cron_expression": "0 0 * 2 mon#5"}, "cron_expression"),  # in 2044
        ({"cron_expression": "0 0 24 12 *", "start_date": date(2027, 1, 1), "end_date": date(2027, 12, 1)}, "end_date"),
        ({"start_date": date(2190, 1, 1)}, "start_date"),
        ({"start_date": date.max}, "start_date"),
    ],
)
def test_what_would_not_fire_within_five_years_says_why(given_: dict[str, object], field: str) -> None:
    schedule = ScheduleSpec(**{"name": "s", "cron_expression": "0 2 * * *", **given_})  # type: ignore[arg-type]
    assert list(validate(schedule)) == []
    found = never_fires(schedule, TODAY)
    assert found is not None
    assert found.field == field


@pytest.mark.parametrize(
    "given_",
    [
        {},
        {"cron_expression": "0 0 29 2 *"},
        {"exclusions": [NEVER], "inclusions": [datetime(2027, 1, 1, 12)]},  # noqa: DTZ001  local times
        {"exclusions": [Exclusion(name="x", last_date=date(2030, 1, 1))]},
        {"start_date": date(2031, 1, 1)},
        {"end_date": date(2026, 1, 1)},  # it has ended
        {"cron_expression": "0 0 1 1 *", "end_date": date(2026, 11, 30)},  # it is being ended
        {"end_date": date.max},
    ],
)
def test_what_fires_or_has_fired_is_good(given_: dict[str, object]) -> None:
    schedule = ScheduleSpec(**{"name": "s", "cron_expression": "0 2 * * *", **given_})  # type: ignore[arg-type]
    assert list(validate(schedule)) == []
    assert never_fires(schedule, TODAY) is None


@pytest.mark.parametrize("expression", ["\u00b2-\u00b3 * * * *", "*/\u00b2 * * * *", "\u0663 * * * *"])
def test_digits_that_are_no_numbers_are_refused_and_raise_nothing(expression: str) -> None:
    (found,) = validate(spec(expression))
    assert found is None or found.field == "cron_expression"


BEGINNING, END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("after", [BEGINNING, END])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_a_search_from_the_ends_of_time_overflows_nowhere(after: datetime, zone: str) -> None:
    daily = ScheduleSpec(name="s", cron_expression="0 2 * * *", timezone=zone, start_date=date.min, end_date=date.max)
    found = next_occurrence(daily, after)
    assert (found is None) == (after == END)
    assert list(annotated(daily, after, after)) == []
