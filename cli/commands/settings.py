"""`flows settings`: what holds for the whole engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.describe import shown

if TYPE_CHECKING:
    from cli.client import Api

MEANINGS = {
    "max_concurrent_jobs": "backups in flight over all flows",
    "keep_days": "days for which history is kept in the tables",
    "disk_roots": "folders under which disks may be read; none: anywhere that is allowed",
    "repository_roots": "folders under which repositories may be; none: anywhere that is allowed",
    "block_devices": "whether disks may be block devices",
}


class Shown(click.Group):
    """A group whose default command is `show`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["show", *args])


@click.group(cls=Shown)
def settings() -> None:
    """Show the settings of the whole engine, or change them."""


@settings.command
@options.as_json
@options.api
def show(api: Api, as_json: bool) -> None:
    """Print the settings: the default command."""
    from cli import terminal

    found = api.call("GET", "/settings")
    if as_json:
        terminal.print_json(terminal.out, found)
    else:
        _print(found)


@settings.command("set")
@click.option("--max-concurrent-jobs", type=options.Limit(2_147_483_647), help="Backups in flight over all flows.")
@click.option("--keep-days", type=options.Limit(36_500), help="Days for which history is kept in the tables.")
@click.option("--disk-roots", type=options.Folders(), help="Folders under which disks may be read.")
@click.option("--repository-roots", type=options.Folders(), help="Folders under which repositories may be.")
@click.option("--block-devices/--no-block-devices", default=None, help="Whether disks may be block devices.")
@options.api
def set_(api: Api, **given: Any) -> None:
    """Change settings; `none` lifts one, and what is left out stays. They count at once.

    Several folders have a colon between them, as on PATH: /srv/vms:/mnt/images.
    """
    patch = {name: None if value == options.NONE else value for name, value in given.items() if value is not None}
    if not patch:
        raise click.UsageError("nothing to set: name a setting, such as --max-concurrent-jobs 4")
    _print(api.call("PUT", "/settings", json=patch))


def _print(found: dict[str, Any]) -> None:
    from cli import terminal

    for name, meaning in MEANINGS.items():
        line = f"{name.replace('_', '-'):<20} {shown(found[name]):<6} {meaning}"
        terminal.print_line(terminal.out, line)
    at = f"set by {found['updated_by']} at {found['updated_at']}" if found["version"] else "nothing has been set yet"
    terminal.print_line(terminal.out, f"version {found['version']}: {at}")
