"""A group of commands that lists them from a table, and imports one when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

Table = Mapping[str, tuple[str, str]]
"""By a command's name: where it is (`module:attribute`), and what it does, in one sentence."""


class LazyGroup(click.Group):
    """A group whose help is its table, with `-h` and `--help`. Its commands are listed in the table's order."""

    def __init__(self, *args: Any, table: Table, **options: Any) -> None:
        super().__init__(*args, **{"context_settings": {"help_option_names": ["-h", "--help"]}, **options})
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        rows = ((name, summary) for name, (_, summary) in self.table.items() if name.startswith(incomplete))
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=summary) for name, summary in rows), *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.table.items()])
