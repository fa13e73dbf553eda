"""The kinds of values that options take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from cli.main import COMMANDS
from cli.main import cli as flows
from cli.options import Address, Ago, Database, PastTime, Time

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


@pytest.mark.parametrize(
    "text",
    [
        "flows.db",
        "/var/lib/flows/a:b@c.db",
        "sqlite+aiosqlite:////var/lib/flows/flows.db",
        "postgresql+psycopg://flows@db/flows",
        "postgresql+psycopg://db:5432/flows",
        "postgresql://postgres:@/flows?host=/run/a@b",
    ],
)
def test_databases_that_may_stand_on_a_command_line(text: str) -> None:
    assert Database().convert(text, None, None) == text


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg://flows:secret@db/flows",
        "postgresql://flows:sec/ret@db/flows",
        "postgresql://:secret@db",
        "postgresql://db/flows?password=secret",
        "postgresql://db/flows?sslmode=require&sslpassword=secret",
        "PostgreSQL://db/flows?Password=secret",
    ],
)
def test_a_databases_password_comes_from_a_file(text: str, tmp_path: Path) -> None:
    with pytest.raises(click.BadParameter, match="@FILE") as refused:
        Database().convert(text, None, None)
    assert "secret" not in str(refused.value)
    file = tmp_path / "url"
    file.write_text(f"{text}\n")
    assert Database().convert(f"@{file}", None, None) == text


def test_the_address_of_the_api_has_no_user() -> None:
    assert Address().convert("https://backups.example.org:8443/", None, None) == "https://backups.example.org:8443"
    for text in ("https://secret@host", "https://me:secret@host/x", "http://a:b@c@host"):
        with pytest.raises(click.BadParameter, match="no user or password") as refused:
            Address().convert(text, None, None)
        assert "secret" not in str(refused.value)


def test_no_option_takes_a_secret_itself() -> None:
    """A token or a password is in a file or in the environment, and an option names that."""
    said = [
        option
        for name in COMMANDS
        for parameter in _parameters(flows.get_command(click.Context(flows), name))
        for option in parameter.opts
        if re.search("token|password|secret|nats-url|credential", option)
    ]
    assert set(said) == {"--token-file", "--secret-env", "--secret-file"}


def _parameters(command: click.Command | None) -> Iterator[click.Parameter]:
    assert command is not None
    yield from command.params
    for inside in command.commands.values() if isinstance(command, click.Group) else ():
        yield from _parameters(inside)
