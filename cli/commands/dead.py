"""`flows dead`."""

from __future__ import annotations

from pathlib import Path

import click

from cli import options, places

_sequence = click.argument("sequence", type=click.IntRange(1))


@click.group
def dead() -> None:
    """Look after messages that could not be used."""


@dead.command("list")
@options.engine_data
def list_(data: Path | None) -> None:
    """Print the messages that could not be used, with the cause."""
    from cli import terminal
    from cli.dead import show

    terminal.run(show(places.nats_url(data), terminal.out))


@dead.command
@_sequence
@options.engine_data
def show(sequence: int, data: Path | None) -> None:
    """Print one of them, whole."""
    from cli import terminal
    from cli.dead import show_one

    terminal.run(show_one(places.nats_url(data), sequence, terminal.out))


@dead.command
@_sequence
@options.engine_data
def retry(sequence: int, data: Path | None) -> None:
    """Append it again, as it is: after an update that can read it."""
    from cli import terminal
    from cli.dead import retry

    terminal.print_line(terminal.out, f"It is message {terminal.run(retry(places.nats_url(data), sequence)):,} now.")


@dead.command
@_sequence
@options.engine_data
def dismiss(sequence: int, data: Path | None) -> None:
    """Note that nothing is to be done about it."""
    from cli import terminal
    from cli.dead import dismiss

    terminal.run(dismiss(places.nats_url(data), sequence))
