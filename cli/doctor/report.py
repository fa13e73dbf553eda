"""Prints what is found."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from cli.attach import attached
from cli.doctor.checks import examine
from services import database

MARKS = {"ok": "[green]✓[/]", "note": "[yellow]•[/]", "problem": "[red]✗[/]"}


async def report(nats_url: str, database_url: str, console: Console) -> bool:
    """Print what was found; return whether all is well. Raises `LogError` when the log cannot be reached."""
    tables = database.reader(database_url)
    well = True
    try:
        async with attached(nats_url, "flows-doctor") as log:
            async for finding in examine(log, tables):
                console.print(f"{MARKS[finding.level]} {escape(finding.text)}", highlight=False, soft_wrap=True)
                well &= finding.level != "problem"
    finally:
        await tables.dispose()
    return well
