"""Prints what is found."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from bus.connection import connect
from bus.log import Log
from cli.doctor.checks import examine
from services import database

MARKS = {"ok": "[green]✓[/]", "note": "[yellow]•[/]", "problem": "[red]✗[/]"}


async def report(nats_url: str, database_url: str, console: Console) -> bool:
    """Print what was found; return whether all is well. Raises `LogError` when the log cannot be reached."""
    client = await connect(nats_url, "flows-doctor")
    tables = database.reader(database_url)
    well = True
    try:
        async for finding in examine(Log(client), tables):
            console.print(f"{MARKS[finding.level]} {escape(finding.text)}", highlight=False, soft_wrap=True)
            well &= finding.level != "problem"
    finally:
        await tables.dispose()
        await client.close()
    return well
