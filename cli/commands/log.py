"""`flows log`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from cli import options, places


@click.command
@click.argument("pattern", default=">")
@options.engine_data
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes.")
@click.option("--json", "as_json", is_flag=True, help="Print the messages as they are, one JSON object a line.")
@click.option("--flow", help="Of this flow, by name or id.")
@click.option("--execution", help="Of this execution.")
@click.option("--vm", help="About this VM.")
@click.option(
    "--since",
    type=options.PastTime(),
    help="From then on; without a zone, local time. Or how long ago: 30m, 12h, 7d.",
)
@click.option("--until", type=options.PastTime(), help="Up to then.")
@click.option("--local", is_flag=True, help="Times in this machine's zone; else in UTC.")
def log(
    pattern: str,
    data: Path | None,
    follow: bool,
    as_json: bool,
    flow: str | None,
    execution: str | None,
    vm: str | None,
    since: datetime | None,
    until: datetime | None,
    local: bool,
) -> None:
    """Print the log. PATTERN is a NATS subject pattern, such as `flow.completed` or `backup.*`."""
    from bus.selection import Filter
    from cli import terminal
    from cli.attach import reading
    from cli.log import show

    wanted = Filter(flow=flow, execution=execution, vm=vm, since=since, until=until)
    with reading(data) as log_at:
        if follow and log_at.stopped:
            raise ValueError(f"nothing comes: {places.not_running(data)}. Without --follow its log is printed")
        terminal.run(
            show(log_at.url, pattern, wanted, follow=follow, as_json=as_json, local=local, console=terminal.out),
        )
