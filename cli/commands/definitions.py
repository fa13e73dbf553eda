"""`flows export` and `flows apply`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import options

if TYPE_CHECKING:
    from cli.client import Api


@click.command
@options.api
def export(api: Api) -> None:
    """Print all definitions as YAML, for `flows apply`."""
    from cli.declare import export

    click.echo(export(api), nl=False)


@click.command
@click.option("--file", "-f", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only show the difference.")
@click.option("--prune", is_flag=True, help="Delete what is not in the file.")
@options.api
def apply(api: Api, file: Path, dry_run: bool, prune: bool) -> None:
    """Make the definitions what a YAML file says. The difference is shown first."""
    from cli import terminal
    from cli.declare import apply

    apply(api, file, prune=prune, dry_run=dry_run, console=terminal.out)
