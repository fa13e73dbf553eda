"""`flows settings`: what holds for the whole engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli import options

if TYPE_CHECKING:
    from cli.client import Api

MEANINGS = {
    "max_concurrent_jobs": "backups in flight over all flows",
    "keep_days": "days for which history is kept in the tables",
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
@options.api
def show(api: Api) -> None:
    """Print the settings: the default command."""
    _print(api.call("GET", "/settings"))


@settings.command("set")
@click.option("--max-concurrent-jobs", type=options.Limit(2_147_483_647), help="Backups in flight over all flows.")
@click.option("--keep-days", type=options.Limit(36_500), help="Days for which history is kept in the tables.")
@options.api
def set_(api: Api, **given: str | None) -> None:
    """Change settings; `none` lifts one, and what is left out stays. They count at once."""
    patch = {name: None if value == options.NONE else int(value) for name, value in given.items() if value is not None}
    if not patch:
        raise click.UsageError("nothing to set: name a setting, such as --max-concurrent-jobs 4")
    _print(api.call("PUT", "/settings", json=patch))


def _print(found: dict[str, Any]) -> None:
    from cli import terminal

    for name, meaning in MEANINGS.items():
        value = options.NONE if found[name] is None else str(found[name])
        terminal.print_line(terminal.out, f"{name.replace('_', '-'):<20} {value:<6} {meaning}")
    at = f"set by {found['updated_by']} at {found['updated_at']}" if found["version"] else "nothing has been set yet"
    terminal.print_line(terminal.out, f"version {found['version']}: {at}")
