"""`flows completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command
@click.argument("shell", type=click.Choice(["bash", "zsh"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what completes commands and names in a shell.

    For bash: `source <(flows completion bash)` in ~/.bashrc; for zsh: `source <(flows completion zsh)` in ~/.zshrc,
    after compinit.
    """
    from cli import terminal

    kind = get_completion_class(shell)
    assert kind is not None
    for line in kind(ctx.find_root().command, {}, "flows", "_FLOWS_COMPLETE").source().splitlines():
        terminal.print_line(terminal.out, line)
