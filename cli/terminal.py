"""What commands run on: the fastest loop there is, and the terminal that they print on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.printable import json_line, printable

T = TypeVar("T")
Part = str | tuple[str, str]
"""A text, or a text and its style."""

out = Console()
err = Console(stderr=True)


def print_line(console: Console, *parts: Part) -> None:
    """Print one line, made of parts. They may come from anywhere: none is markup, moves the cursor or ends the line."""
    console.print(Text().join(map(text_of, parts)), soft_wrap=True, highlight=False)


def text_of(part: Part) -> Text:
    """Return a part as a text that a terminal only shows."""
    text, style = (part, "") if isinstance(part, str) else part
    return Text(printable(text), style)


def print_table(console: Console, titles: Sequence[str], rows: Iterable[Sequence[Part]]) -> None:
    """Print rows under titles: on a terminal as wide as that, elsewhere each row as one line, however long it is."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    texts = [[text_of(cell) for cell in row] for row in rows]
    for row in texts:
        table.add_row(*row)
    if console.is_terminal:
        console.print(table)
        return
    widths = [
        max(map(cell_len, column))
        for column in zip(titles, *([one.plain for one in row] for row in texts), strict=True)
    ]
    for line in (titles, *([one.plain for one in row] for row in texts)):
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        print_line(console, "  ".join(padded).rstrip())


def print_json(console: Console, *values: Any) -> None:
    """Print each value as one line of JSON."""
    for value in values:
        print_line(console, json_line(msgspec.json.encode(value)))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, and return what it returns."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)
