"""`flows db`."""

from __future__ import annotations

from pathlib import Path

import click

from cli import failures, options, places


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


@db.command
@click.argument("revision", required=False)
@options.data
@click.option("--yes", is_flag=True, help="Do it, although something is lost.")
def downgrade(revision: str | None, data: Path | None, yes: bool) -> int:
    """Bring the tables back to an earlier revision, or to the one before. Stop the recorder and the API first.

    Then start the version of flows that the revision belongs to. `base` takes away all tables.
    """
    from cli import terminal
    from services.database import downgrade_to, upgrade

    url = places.database_url(data)
    planned = downgrade_to(url, revision)
    if planned.lost:
        terminal.print_line(terminal.out, f"Going back to revision {planned.revision} takes away:")
        for lost in planned.lost:
            terminal.print_line(terminal.out, f"  {lost}")
    if planned.lost and not yes:
        again = f"flows db downgrade {planned.revision} --yes"
        terminal.print_line(
            terminal.out, "As far as the log goes back, `flows rebuild` fills an empty database with it."
        )
        terminal.print_line(terminal.out, f"Nothing has been changed. To do it: {again}")
        return failures.FAILED
    upgrade(url, planned.revision)
    terminal.print_line(terminal.out, f"The tables are at revision {planned.revision} now.")
    return failures.OK
