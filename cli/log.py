"""`flows log`: the log for people, and as JSON lines for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console

from bus.envelope import Entry, Stored
from bus.selection import Filter, Selection, begins
from cli.attach import attached
from cli.describe import describe
from cli.printable import json_line, printable

PAGE = 1_000
_COLOURS = {"command": "36", "rejected": "33", "catalog": "34", "flow": "32", "backup": "35", "dead": "31"}
_BAD = ("rejected", "dead", "backup.failed", "backup.retrying", "flow.skipped", "flow.missed", "flow.overdue")


async def show(
    url: str, pattern: str, wanted: Filter, *, follow: bool, as_json: bool, local: bool, console: Console
) -> None:
    """Print the log's messages whose subjects match. With `follow` it goes on until interrupted."""
    write = _json_line(console) if as_json else _line(console, local=local)
    selection = Selection(wanted)

    def print_those_of(entries: Sequence[Entry]) -> None:
        for entry in entries:
            if selection.takes(entry) and begins(pattern, entry.subject):
                write(entry)

    async with attached(url, "flows-log") as log:
        last = (await log.identity()).last_sequence
        async for page in log.pages(after=0, until=last, size=PAGE):
            print_those_of(page)
        console.file.flush()
        if not follow:
            return
        async for batch in log.follow([">"], after=last):
            print_those_of(batch.entries)
            console.file.flush()


def _json_line(console: Console) -> Callable[[Entry], None]:
    def write(entry: Entry) -> None:
        console.file.write(json_line(entry.body) + "\n")

    return write


def _line(console: Console, *, local: bool) -> Callable[[Entry], None]:
    """Return what prints a message in columns; in colour on a terminal, by hand, as there may be many thousands."""
    coloured = console.is_terminal and not console.no_color

    def write(entry: Entry) -> None:
        colour = _COLOURS.get(entry.subject.split(".", maxsplit=1)[0], "37")
        if entry.subject.startswith(_BAD):
            colour = "31"
        at = entry.envelope.time if isinstance(entry, Stored) else entry.stored_at
        key = printable(entry.envelope.subject) if isinstance(entry, Stored) else ""
        kind = printable(entry.envelope.type if isinstance(entry, Stored) else entry.subject)
        place = f"{entry.sequence:>7}  {at.astimezone() if local else at:%Y-%m-%d %H:%M:%S}"
        what = printable(describe(entry))
        if coloured:
            console.file.write(f"\x1b[2m{place}\x1b[0m  \x1b[{colour}m{kind:<24}\x1b[0m  {key:<36}  {what}\n")
        else:
            console.file.write(f"{place}  {kind:<24}  {key:<36}  {what}\n")

    return write
