"""`flows explain`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from cli import options, places


@click.command
@click.argument("flow")
@click.argument("at", required=False, metavar="[TIME]", type=options.PastTime())
@options.data
def explain(flow: str, at: datetime | None, data: Path | None) -> None:
    """Say in plain words why a flow ran, or did not. FLOW is its name or id; without TIME: last."""
    from cli import terminal
    from cli.explain import explain

    terminal.run(explain(places.database_url(data), flow, at, terminal.out))
