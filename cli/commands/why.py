"""`flows why`, also `flows explain`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from cli import options, places


@click.command
@click.argument("what", metavar="FLOW|EXECUTION")
@click.argument("at", required=False, metavar="[TIME]", type=options.PastTime())
@options.data
@click.option("--log", "by_log", is_flag=True, help="Read the log itself; else its copy in the tables.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with the causes of each sentence.")
def why(what: str, at: datetime | None, data: Path | None, *, by_log: bool, as_json: bool) -> None:
    """Say in plain words why a flow ran, or did not.

    Of an execution: what became of it. FLOW is a name or an id. Without TIME: what happened last. The numbers are
    places on the log (`flows log`).
    """
    from cli import terminal
    from cli import why as asking
    from cli.attach import reading

    if by_log:
        with reading(data) as log_at:
            found = terminal.run(asking.by_log(log_at.url, what, at))
    else:
        found = terminal.run(asking.by_tables(places.database_url(data), what, at))
    asking.show(found, what, terminal.out, as_json=as_json)
