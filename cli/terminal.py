"""What commands run on: the fastest loop there is, and the terminal that they print on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from rich.console import Console
from rich.text import Text

from cli.printable import printable

T = TypeVar("T")
Part = str | tuple[str, str]
"""A text, or a text and its style."""

out = Console()
err = Console(stderr=True)


def print_line(console: Console, *parts: Part) -> None:
    """Print one line, made of parts. They may come from anywhere: none is markup, moves the cursor or ends the line."""
    line = Text()
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else part
        line.append(printable(text), style)
    console.print(line, soft_wrap=True, highlight=False)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, and return what it returns."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)
