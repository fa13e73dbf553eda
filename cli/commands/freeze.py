"""`flows freeze` and `flows thaw`: no scheduled start anywhere, for a while."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from cli import options

if TYPE_CHECKING:
    from cli.client import Api


@click.command
@click.option(
    "--until",
    required=True,
    type=options.Time(),
    help="When it ends by itself, e.g. 2026-12-27T06:00; without a zone, local time.",
)
@click.option("--reason", required=True, help="Shown with everything that is skipped.")
@options.api
def freeze(api: Api, until: datetime, reason: str) -> None:
    """Let nothing start by its schedule for a while. What runs goes on, and starting by hand works."""
    from cli import terminal

    made = api.call("PUT", "/freeze", json={"until": until.isoformat(), "reason": reason})
    terminal.print_line(terminal.out, f"No scheduled start until {made['until']}: {reason}")


@click.command
@options.api
def thaw(api: Api) -> None:
    """End the freeze now."""
    from cli import terminal

    api.call("DELETE", "/freeze")
    terminal.print_line(terminal.out, "The freeze has ended: flows start by their schedules again.")
