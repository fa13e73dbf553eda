"""`flows doctor`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cli import failures, options, places


@click.command
@options.engine_data
def doctor(data: Path | None) -> None:
    """Check that what should hold true does. Exits with 1 when something does not."""
    from cli import terminal
    from cli.attach import reading
    from cli.doctor.report import report

    with reading(data) as log_at:
        if not terminal.run(report(log_at, places.database_url(data), terminal.out)):
            sys.exit(failures.FAILED)
