"""Prints what is found."""

from __future__ import annotations

from rich.console import Console

from cli.attach import attached
from cli.doctor.checks import examine
from cli.doctor.findings import Finding
from cli.doctor.services import services
from cli.terminal import print_line
from services import database

MARKS = {"ok": ("✓ ", "green"), "note": ("• ", "yellow"), "problem": ("✗ ", "red")}


async def report(nats_url: str, database_url: str, console: Console) -> bool:
    """Print what was found; return whether all is well. Raises `LogError` when the log cannot be reached."""
    tables = database.reader(database_url)
    well = True
    try:
        async with attached(nats_url, "flows-doctor") as log:
            for finding in await services(log):
                well &= _print(finding, console)
            async for finding in examine(log, tables):
                well &= _print(finding, console)
    finally:
        await tables.dispose()
    return well


def _print(finding: Finding, console: Console) -> bool:
    """Print a finding; return whether it is no problem."""
    print_line(console, MARKS[finding.level], finding.text)
    return finding.level != "problem"
