"""`flows replay`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from cli import failures, options, places


class Prefix(click.ParamType):
    """The beginning of subjects that are not the log's own, and that the operator may publish to."""

    name = "prefix"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from bus.identities import REPLAYED

        if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", value):
            self.fail(f"{value!r}: letters, digits, `-`, `_`, and dots between them are needed", param, ctx)
        if value.split(".")[0] != REPLAYED:
            self.fail(f"{value!r}: it must be {REPLAYED!r}, or begin with {REPLAYED + '.'!r}", param, ctx)
        return value


@click.command
@click.argument("execution", required=False)
@click.option("--step", is_flag=True, help="Stop before each decision.")
@click.option(
    "--publish-to",
    metavar="PREFIX",
    type=Prefix(),
    help="Send the messages again, to PREFIX.<subject>, for a subscriber. PREFIX is `replay`, or `replay.` and more.",
)
@click.option("--speed", default=0.0, type=click.FloatRange(0), help="1: in the original rhythm; 0: at once.")
@options.engine_data
def replay(execution: str | None, step: bool, publish_to: str | None, speed: float, data: Path | None) -> None:
    """Decide again what was decided, with today's code, and compare. About EXECUTION, or about all of them.

    Exits with 1 when a decision is another one today.
    """
    from cli import terminal
    from cli.attach import reading
    from cli.replay import publish, replay

    if publish_to is not None:
        terminal.run(publish(places.nats_url(data), execution, publish_to, speed, terminal.out))
        return
    with reading(data) as log_at:
        if not terminal.run(replay(log_at.url, execution, step=step, console=terminal.out)):
            sys.exit(failures.FAILED)
