"""`flows serve`."""

from __future__ import annotations

import logging
import sys

import click

from cli import failures, logs
from cli.parts import NAMES

_log = logging.getLogger(__name__)


@click.command
@click.argument("names", nargs=-1, required=True, type=click.Choice(NAMES))
@click.option(
    "--label",
    "labels",
    metavar="KEY=VALUE",
    multiple=True,
    help="A label of the worker, such as site=a; can be repeated.  [default: FLOWS_WORKER_LABELS]",
)
def serve(names: tuple[str, ...], labels: tuple[str, ...]) -> None:
    """Run one or more services against FLOWS_NATS_URL and FLOWS_DATABASE_URL.

    The other settings are environment variables too; the README lists them. Log lines go to standard error, as JSON
    when that is not a terminal.
    """
    logs.of_services()
    try:
        from msgspec import structs

        from cli.serve import serve
        from cli.settings import from_environment
        from cli.terminal import run
        from schemas.labels import parsed

        settings = from_environment()
        if labels:
            settings = structs.replace(settings, worker_labels=parsed(",".join(labels)))
        run(serve(names, settings))
    except Exception as error:  # noqa: BLE001  whatever it is, it is logged, and ends the process
        cause = failures.cause_of(error)
        which = getattr(error, "__notes__", [])[:1] if len(names) > 1 else []
        message = ": ".join([*which, cause or failures.defect(error)])
        about = {"action": "process_failed", "parts": names}
        _log.critical("%s", message, exc_info=cause is None, extra=about)
        sys.exit(failures.FAILED)
