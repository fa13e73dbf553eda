"""Prints what is found."""

from __future__ import annotations

from rich.console import Console

from cli.attach import Address, attached
from cli.doctor.checks import examine
from cli.doctor.findings import Finding
from cli.doctor.services import services
from cli.terminal import print_line
from services import database

STOPPED = Finding(level="note", text="the engine does not run: its log and its tables are checked as it left them")
MARKS = {"ok": ("✓ ", "green"), "note": ("• ", "yellow"), "problem": ("✗ ", "red")}


async def report(log_at: Address, database_url: str, console: Console) -> bool:
    """Print what was found; return whether all is well. Raises `LogError` when the log cannot be reached.

    Of an engine that does not run, the services are not asked for.
    """
    tables = database.reader(database_url)
    well = True
    try:
        async with attached(log_at.url, "flows-doctor") as log:
            for finding in [STOPPED] if log_at.stopped else await services(log):
                well &= _print(finding, console)
            async for finding in examine(log, tables):
                well &= _print(_of_stopped(finding) if log_at.stopped else finding, console)
    finally:
        await tables.dispose()
    return well


def _of_stopped(finding: Finding) -> Finding:
    """Return what a finding is when the engine does not run: what it sees to when it starts is no problem."""
    if finding.level != "problem" or not finding.passing:
        return finding
    return Finding(level="note", text=f"{finding.text} It is seen to when the engine starts")


def _print(finding: Finding, console: Console) -> bool:
    """Print a finding; return whether it is no problem."""
    print_line(console, MARKS[finding.level], finding.text)
    return finding.level != "problem"
