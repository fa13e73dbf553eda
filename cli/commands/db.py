"""`flows db`."""

from __future__ import annotations

from pathlib import Path

import click

from cli import options, places


@click.group
def db() -> None:
    """Look after the tables of the read model."""


@db.command
@options.data
def upgrade(data: Path | None) -> None:
    """Bring the tables to what this version needs. Stop the recorder first."""
    from cli import terminal
    from services.database import bring_up_to_date

    before = bring_up_to_date(places.database_url(data))
    text = "The tables were up to date." if before == "current" else f"The tables were {before}; now they are not."
    terminal.print_line(terminal.out, text)
