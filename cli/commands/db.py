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
@click.option("--grant-read", "read", multiple=True, metavar="ROLE", help="A role of PostgreSQL that reads: the API's.")
@click.option("--grant-write", "write", multiple=True, metavar="ROLE", help="One that writes rows: the recorder's.")
def upgrade(data: Path | None, read: tuple[str, ...], write: tuple[str, ...]) -> None:
    """Bring the tables to what this version needs, and grant roles what they may do with them.

    A recorder of an older version that runs ends before it writes to them.
    """
    from cli import terminal
    from services.database import bring_up_to_date

    url = places.database_url(data)
    before = bring_up_to_date(url)
    text = "The tables were up to date." if before == "current" else f"The tables were {before}; now they are not."
    terminal.print_line(terminal.out, text)
    if read or write:
        from services.grants import grant

        grant(url, read=read, write=write)
        terminal.print_line(
            terminal.out, f"May read: {', '.join(read) or '-'}. May write rows: {', '.join(write) or '-'}."
        )


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
