"""`flows why`, also `flows explain`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import options, places

if TYPE_CHECKING:
    from cli.client import Api


@click.command
@click.argument("what", metavar="FLOW|EXECUTION")
@click.argument("at", required=False, metavar="[TIME]", type=options.PastTime())
@click.option("--log", "by_log", is_flag=True, help="Read the log itself; else its copy in the tables.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with the causes of each sentence.")
@options.engine
def why(api: Api | None, data: Path | None, what: str, at: datetime | None, *, by_log: bool, as_json: bool) -> None:
    """Say in plain words why a flow ran, or did not.

    Of an execution: what became of it. FLOW is a name or an id. Without TIME: what happened last. The numbers are
    places on the log (`flows log`). Of an engine elsewhere its API is asked, of one on this machine its tables: so it
    works while that one is stopped.
    """
    from cli import terminal
    from cli import why as asking
    from cli.attach import reading

    if api is not None:
        if by_log:
            raise click.UsageError("the log of an engine elsewhere cannot be read here: leave out --log")
        found = asking.by_api(api, what, at)
    elif by_log:
        with reading(data) as log_at:
            found = terminal.run(asking.by_log(log_at.url, what, at))
    else:
        found = terminal.run(asking.by_tables(places.database_url(data), what, at))
    asking.show(found, what, terminal.out, as_json=as_json)
