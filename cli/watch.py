"""`flows watch`: what waits, runs and comes next, live on a terminal; elsewhere events, a line for each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bus.clock import now
from cli import shown
from cli.printable import json_line
from cli.terminal import Part, print_line, text_of

if TYPE_CHECKING:
    from rich.console import Console

    from cli.client import Api

_EVERY = 1.0  # seconds between two looks
_MOST = 15  # rows of each table: a terminal's height
Found = dict[str, Any]


def watch(api: Api, flow_id: str | None, console: Console) -> None:
    """Show what goes on until interrupted."""
    with Live(_screen(api, flow_id), console=console, screen=False, auto_refresh=False) as live:
        while True:
            time.sleep(_EVERY)
            live.update(_screen(api, flow_id), refresh=True)


def events(api: Api, flow_id: str | None, console: Console, *, as_json: bool) -> None:
    """Print events as they come, until interrupted: as they are, or what they say."""
    query = {} if flow_id is None else {"flow_id": flow_id}
    for body in api.events(**query):
        print_line(console, json_line(body.encode()) if as_json else _event(body))
        console.file.flush()


def _event(body: str) -> str:
    """Return a CloudEvent as a line."""
    from bus.envelope import Stored, decode
    from cli.describe import describe

    outer = msgspec.json.decode(body)
    at, kind, key = outer["time"], outer["type"], outer["subject"]
    entry = decode(sequence=0, subject=f"{kind}.{key}", stored_at=now(), body=body.encode())
    what = describe(entry) if isinstance(entry, Stored) else ""
    return f"{shown.time(at)}  {kind:<20}  {what}"


def _screen(api: Api, flow_id: str | None) -> RenderableType:
    of_flow = {} if flow_id is None else {"flow_id": flow_id}
    running = list(api.all("/executions", "executions", most=_MOST, status="running", **of_flow))
    pending = list(api.all("/executions", "executions", most=_MOST, status="pending", **of_flow))
    ended = [one for one in api.all("/executions", "executions", most=_MOST, **of_flow) if one["completed_at"]]
    parts = [Text("RUNNING", "bold"), _running(running) if running else Text("  nothing")]
    if pending:
        parts += [
            Text("WAITING", "bold"),
            _lines((found["flow_name"], shown.time(found["created_at"])) for found in pending),
        ]
    parts += [Text("ENDED", "bold"), _lines(map(_ended, ended)) if ended else Text("  nothing")]
    return Group(*parts)


def _running(executions: list[Found]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=True)
    for found in executions:
        ended = sum(found[f"jobs_{how}"] for how in ("completed", "failed", "skipped"))
        bar = ProgressBar(total=max(found["jobs_created"], 1), completed=ended, width=30)
        count = f"{ended}/{shown.plural(found['jobs_created'], 'VM')}"
        table.add_row(text_of(found["flow_name"]), bar, count, shown.size(found["bytes_transferred"]))
    return table


def _ended(found: Found) -> tuple[Part, ...]:
    done = f"{found['jobs_completed']}/{shown.plural(found['jobs_created'], 'VM')}"
    return (shown.time(found["completed_at"]), found["flow_name"], shown.status(found["status"]), done)


def _lines(rows: Iterator[tuple[Part, ...]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=True)
    for row in rows:
        table.add_row(*map(text_of, row))
    return table
