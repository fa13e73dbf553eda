"""The kinds of values that options take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from cli.options import Ago, PastTime, Time

NOON = datetime(2026, 12, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize("kind", [Time(), PastTime()], ids=["time", "past time"])
@pytest.mark.parametrize("text", ["2026-12-27T12:00:00Z", "2026-12-27T13:00+01:00", "2026-12-27 12:00+00:00"])
def test_a_time_is_an_instant_in_utc(kind: click.ParamType, text: str) -> None:
    assert kind.convert(text, None, None) == NOON


@pytest.mark.parametrize("kind", [Ago(), PastTime()], ids=["ago", "past time"])
@pytest.mark.parametrize(
    ("text", "ago"),
    [("0m", timedelta()), ("30m", timedelta(minutes=30)), ("12h", timedelta(hours=12)), ("2y", timedelta(days=730))],
)
def test_how_long_ago(kind: click.ParamType, text: str, ago: timedelta) -> None:
    before = datetime.now(UTC) - ago
    found = kind.convert(text, None, None)
    assert before <= found <= datetime.now(UTC) - ago


def test_longer_ago_than_there_are_years() -> None:
    assert Ago().convert("99999999y", None, None).year == 1


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *(
            (Time(), text)
            for text in ("", "soon", "12h", "2026-13-01", "9999-12-31T23:59:59-23:00", "2026-12-27T12:00+")
        ),
        *((Ago(), text) for text in ("", "h", "-1h", "1.5h", "12", "²h", "2026-12-27T12:00")),
        *((PastTime(), text) for text in ("", "soon", "12")),
    ],
)
def test_what_is_none_is_refused(kind: click.ParamType, text: str) -> None:
    with pytest.raises(click.BadParameter, match="is needed"):
        kind.convert(text, None, None)
