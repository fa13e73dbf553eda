"""The calendar against cronsim, which shares nothing with it, and against real changes of the clocks, one by one.

cronsim treats daylight saving as Debian's cron does. That is our rule too, save for one thing, which is accounted for
here: in a gap it shifts each fixed time by the length of the gap, while ours all fire at the gap's end.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas.definitions import ScheduleSpec
from services.scheduler.calendar import annotated, occurrences
from services.scheduler.validation import validate

ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo"),
    *("Europe/Dublin", "Pacific/Auckland", "Asia/Kolkata", "America/St_Johns", "Asia/Tehran", "Pacific/Apia"),
]


def spec(expression: str, zone: str = "UTC", **given_: object) -> ScheduleSpec:
    return ScheduleSpec(name="s", cron_expression=expression, timezone=zone, **given_)  # type: ignore[arg-type]


# --- cron fields ------------------------------------------------------------------------------------------------------


def field(low: int, high: int, *, star: bool = True) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    ordered = st.tuples(number, number).map(sorted)
    plain = st.one_of(
        number.map(str),
        st.lists(number, min_size=2, max_size=4, unique=True).map(lambda some: ",".join(map(str, sorted(some)))),
        ordered.map(lambda pair: f"{pair[0]}-{pair[1]}"),
        # a range of one with a step is a start for cronsim (`5-5/2` as `5/2`), one value for Vixie's cron and for us
        st.tuples(ordered, st.integers(1, 5))
        .filter(lambda given: given[0][0] < given[0][1])
        .map(lambda given: f"{given[0][0]}-{given[0][1]}/{given[1]}"),
    )
    steps = st.integers(2, max(2, high // 2)).map(lambda step: f"*/{step}")
    return st.one_of(st.just("*"), plain, steps) if star else plain


DAYS = field(1, 28, star=False)
WEEKDAYS = field(0, 6, star=False)
# `*/2` in the day fields is a restriction for croniter and a star for cronsim: with both, they mean different days
EXPRESSIONS = st.tuples(
    field(0, 59),
    field(0, 23),
    st.one_of(
        st.tuples(st.just("*"), st.just("*")),
        st.tuples(DAYS, st.just("*")),
        st.tuples(st.just("*"), WEEKDAYS),
        st.tuples(DAYS, WEEKDAYS),
        st.tuples(st.just("L"), st.just("*")),
        st.tuples(st.just("*"), st.tuples(st.integers(0, 6), st.integers(1, 4)).map(lambda two: f"{two[0]}#{two[1]}")),
    ),
    field(1, 12),
).map(lambda parts: f"{parts[0]} {parts[1]} {parts[2][0]} {parts[3]} {parts[2][1]}")


def by_oracle(expression: str, zone: str, after: datetime, count: int) -> list[datetime]:
    """Return what cronsim finds; what it shifted out of a gap is moved to the gap's end, as our rule says."""
    place = ZoneInfo(zone)
    fixed = not any(part.startswith("*") for part in expression.split()[:2])
    found: list[datetime] = []
    for local in islice(CronSim(expression, after.astimezone(place)), count * 3):
        at = local.astimezone(UTC)
        if fixed and not matches_time(expression, local):
            at = end_of_gap(at, place)
        if at > after and at not in found:
            found.append(at)
    return sorted(found)[:count]


def matches_time(expression: str, local: datetime) -> bool:
    """Tell whether the wall clock shows a time that the expression names."""
    same_day = local.replace(hour=0, minute=0, tzinfo=None) - timedelta(minutes=1)
    minute, hour = expression.split()[:2]
    expected = next(CronSim(f"{minute} {hour} * * *", local.replace(tzinfo=None) - timedelta(minutes=1)))
    assert same_day < expected
    return bool(expected == local.replace(tzinfo=None))


def end_of_gap(at: datetime, place: ZoneInfo) -> datetime:
    """Return the last change of the clocks at or before an instant."""
    here = at
    while (here - timedelta(minutes=1)).astimezone(place).utcoffset() == at.astimezone(place).utcoffset():
        here -= timedelta(minutes=1)
        assert at - here < timedelta(hours=6), "there is no gap"
    return here


@settings(max_examples=4 * settings().max_examples)  # examples are quick, and there are many expressions
@given(
    expression=EXPRESSIONS,
    zone=st.sampled_from(ZONES),
    after=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001  made aware below
)
def test_every_occurrence_is_the_oracles(expression: str, zone: str, after: datetime) -> None:
    start = after.replace(tzinfo=UTC)
    schedule = spec(expression, zone)
    assert list(validate(schedule)) == [], expression
    assume(zone != "Australia/Lord_Howe" or not expression.split()[1].startswith("*/"))  # see the test below
    found = list(islice(occurrences(schedule, start), 12))
    assert found == by_oracle(expression, zone, start, 12)


@given(
    expression=st.sampled_from(["30 2 * * *", "0,30 0-3 * * *", "*/15 * * * *", "15 * * * *", "45 1,2,23 * * *"]),
    zone=st.sampled_from(ZONES),
    year=st.integers(2020, 2034),
    days=st.integers(0, 365),
)
def test_every_occurrence_near_changes_of_the_clocks_is_the_oracles(
    expression: str, zone: str, year: int, days: int
) -> None:
    start = near_a_change(datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=days), ZoneInfo(zone))
    found = list(islice(occurrences(spec(expression, zone), start), 30))
    assert found == by_oracle(expression, zone, start, 30)


def test_where_the_oracle_is_wrong() -> None:
    """Lord Howe's clocks go back by half an hour: two o'clock comes once, at 15:30 UTC, and cronsim passes it over."""
    start = datetime(2020, 4, 4, 14, tzinfo=UTC)
    at = datetime(2020, 4, 4, 15, 30, tzinfo=UTC)
    assert at.astimezone(ZoneInfo("Australia/Lord_Howe")).strftime("%H:%M") == "02:00"
    assert next(occurrences(spec("0 */2 * * *", "Australia/Lord_Howe"), start)) == at
    assert by_oracle("0 */2 * * *", "Australia/Lord_Howe", start, 1) != [at]


def near_a_change(start: datetime, place: ZoneInfo) -> datetime:
    """Return the day before the next change of the clocks after `start`, or `start` when there is none in a year."""
    for day in range(366):
        here = start + timedelta(days=day)
        if here.astimezone(place).utcoffset() != (here + timedelta(days=1)).astimezone(place).utcoffset():
            return here - timedelta(hours=5)
    return start


# --- real changes of the clocks ---------------------------------------------------------------------------------------

FIXED, PATTERN = "30 2 * * *", "*/30 * * * *"


@pytest.mark.parametrize(
    ("zone", "wall", "at", "note"),
    [
        # forward: the time does not exist, and fires at the gap's end
        ("Europe/Berlin", "30 2", "2026-03-29T01:00", "shifted"),
        ("Europe/Berlin", "30 2", "2027-03-28T01:00", "shifted"),
        ("America/New_York", "30 2", "2026-03-08T07:00", "shifted"),
        ("America/New_York", "30 2", "2027-03-14T07:00", "shifted"),
        ("Australia/Lord_Howe", "15 2", "2026-10-03T15:30", "shifted"),  # by half an hour
        ("Australia/Lord_Howe", "15 2", "2027-10-02T15:30", "shifted"),
        ("America/Santiago", "30 0", "2026-09-06T04:00", "shifted"),  # at midnight
        ("America/Santiago", "30 0", "2027-09-05T04:00", "shifted"),
        ("Africa/Cairo", "30 0", "2026-04-23T22:00", "shifted"),  # at midnight, on a Friday
        ("Africa/Cairo", "30 0", "2027-04-29T22:00", "shifted"),
        ("Europe/Dublin", "30 1", "2026-03-29T01:00", "shifted"),  # winter is the exception there
        ("Europe/Dublin", "30 1", "2027-03-28T01:00", "shifted"),
        ("Pacific/Auckland", "30 2", "2026-09-26T14:00", "shifted"),
        ("Pacific/Auckland", "30 2", "2027-09-25T14:00", "shifted"),
        # back: the time comes twice, and fires the first time
        ("Europe/Berlin", "30 2", "2026-10-25T00:30", None),
        ("Europe/Berlin", "30 2", "2027-10-31T00:30", None),
        ("America/New_York", "30 1", "2026-11-01T05:30", None),
        ("America/New_York", "30 1", "2027-11-07T05:30", None),
        ("Australia/Lord_Howe", "45 1", "2026-04-04T14:45", None),
        ("Australia/Lord_Howe", "45 1", "2027-04-03T14:45", None),
        ("America/Santiago", "30 23", "2026-04-05T02:30", None),
        ("America/Santiago", "30 23", "2027-04-04T02:30", None),
        ("Africa/Cairo", "30 23", "2026-10-29T20:30", None),
        ("Africa/Cairo", "30 23", "2027-10-28T20:30", None),
        ("Europe/Dublin", "30 1", "2026-10-25T00:30", None),
        ("Europe/Dublin", "30 1", "2027-10-31T00:30", None),
        ("Pacific/Auckland", "30 2", "2026-04-04T13:30", None),
        ("Pacific/Auckland", "30 2", "2027-04-03T13:30", None),
    ],
)
def test_real_changes_of_the_clocks(zone: str, wall: str, at: str, note: str | None) -> None:
    expected = datetime.fromisoformat(at).replace(tzinfo=UTC)
    around = (expected - timedelta(hours=12), expected + timedelta(hours=11))
    daily = spec(f"{wall} * * *", zone)
    (one,) = annotated(daily, *around)
    assert (one.at, one.note) == (expected, note)
    if note is None:
        both = spec(f"{wall} * * *", zone, dst_fold="both")
        first, second = annotated(both, *around)
        gap = timedelta(minutes=30) if zone == "Australia/Lord_Howe" else timedelta(hours=1)
        assert (first.at, second.at, second.note) == (expected, expected + gap, "repeated")
    else:
        assert list(annotated(spec(f"{wall} * * *", zone, dst_gap="skip"), *around)) == []
    # a pattern fires at every instant that exists, and at no other
    intervals = [one.at for one in annotated(spec("*/30 * * * *", zone), *around)]
    steps = {later - earlier for earlier, later in pairwise(intervals)}
    assert steps == {timedelta(minutes=30)}
