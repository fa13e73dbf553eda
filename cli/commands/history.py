"""`flows rebuild`, `diff`, `restore-log` and `prune`: the log and its copies in databases."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path

import click

from cli import failures, options, places, settings

DATABASE = "a URL, @FILE with the URL in it (if it has a password), or the path of a SQLite file"


@click.command
@click.option("--into", required=True, type=options.Database(), help=f"An empty database: {DATABASE}.")
@options.engine_data
def rebuild(into: str, data: Path | None) -> None:
    """Fill an empty database from the log. A recorder goes on where this ends."""
    from cli import terminal
    from cli.attach import reading
    from cli.history import rebuild

    with reading(data) as log_at:
        terminal.run(rebuild(log_at.url, places.url_of(into), terminal.err))


@click.command
@click.argument("first", type=options.Database())
@click.argument("second", type=options.Database())
@click.option("--most", default=20, show_default=True, type=click.IntRange(1), help="Differences that are printed.")
def diff(first: str, second: str, most: int) -> None:
    """Compare two databases. Exits with 1 when they differ.

    Each is a URL, @FILE with the URL in it, or the path of a SQLite file. A URL with a password must be in a file.
    """
    from cli import terminal
    from cli.history import diff

    if terminal.run(diff(places.url_of_existing(first), places.url_of_existing(second), most, terminal.out)):
        sys.exit(failures.FAILED)


@click.command("restore-log")
@click.option("--from", "source", required=True, type=options.Database(), help=f"The database: {DATABASE}.")
@options.nats_server
@options.data
def restore_log(source: str, nats_server: str | None, data: Path | None) -> None:
    """Fill an empty log from the second copy in a database. Then everything runs on. The services must be stopped."""
    from cli import terminal
    from cli.history import restore, restore_folder

    copy = places.url_of_existing(source)
    if data is None and (url := os.environ.get("FLOWS_NATS_URL")):
        terminal.run(restore(settings.nats_url(url), copy, terminal.err))
    else:
        restore_folder(data or places.DEFAULT_DATA, copy, nats_server, terminal.err)


@click.command
@click.option("--keep", "before", required=True, type=options.Ago(), help="How long history is kept: 90d, 2y.")
@options.engine_data
def prune(before: datetime, data: Path | None) -> None:
    """Let go of the history of executions that ended longer ago. Totals and each VM's last good backup stay."""
    from cli import terminal
    from cli.history import prune

    terminal.run(prune(places.nats_url(data), before))
    text = f"History from before {before:%Y-%m-%d %H:%M} UTC is let go, when the recorder comes to it."
    terminal.print_line(terminal.out, text)
