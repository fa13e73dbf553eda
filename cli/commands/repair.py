"""`flows repair`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cli import failures, options, places


@click.command
@options.engine_data
@click.option("--yes", is_flag=True, help="Do it; else it is only shown.")
def repair(data: Path | None, yes: bool) -> None:
    """Show the safe remedies for what `flows doctor` finds, or apply them. Exits with 1 while something is wrong."""
    from cli import terminal
    from cli.repair import repair

    if not terminal.run(repair(places.nats_url(data), places.database_url(data), terminal.out, sure=yes)):
        sys.exit(failures.FAILED)
