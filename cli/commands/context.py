"""`flows context`: the engines that this user's commands talk to."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from cli import options


def _names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from cli import contexts

    return [CompletionItem(name) for name in contexts.remembered().contexts if name.startswith(incomplete)]


_name = click.argument("name", shell_complete=_names)


@click.group
def context() -> None:
    """Remember engines, to talk to them."""


@context.command
@_name
@click.option("--url", type=options.Address(), help="Its API.")
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file with a token.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its certificates.")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Its data folder, here.")
def add(name: str, url: str | None, token_file: Path | None, ca: Path | None, data: Path | None) -> None:
    """Remember an engine, and use it: its address and a file with a token, or its data folder on this machine.

    The path of the file is remembered, and never the token.
    """
    from cli import contexts, terminal

    if (data is None) == (url is None or token_file is None):
        raise click.UsageError("name its --url and --token-file, or its --data folder")
    found = contexts.Context(
        url=url,
        token_file=str(token_file.absolute()) if token_file else None,
        ca=str(ca.absolute()) if ca else None,
        data=str(data.absolute()) if data else None,
    )
    known = contexts.remembered()
    contexts.remember(contexts.Contexts(current=name, contexts={**known.contexts, name: found}))
    terminal.print_line(terminal.out, f"commands talk to {name!r} now")


@context.command
@_name
def use(name: str) -> None:
    """Let commands talk to a remembered engine."""
    from cli import contexts, terminal

    known = contexts.remembered()
    contexts.named(known, name)
    contexts.remember(contexts.Contexts(current=name, contexts=known.contexts))
    terminal.print_line(terminal.out, f"commands talk to {name!r} now")


@context.command("list")
@options.as_json
def list_(as_json: bool) -> None:
    """List the engines that are remembered; `*` stands before the one that is used."""
    from cli import contexts, shown, terminal

    known = contexts.remembered()
    rows = [(name, name == known.current, one) for name, one in known.contexts.items()]
    if as_json:
        found = (
            {
                "name": n,
                "current": used,
                "url": c.url,
                "token_file": c.token_file,
                "data": c.data,
                **({"ca": c.ca} if c.ca else {}),
            }
            for n, used, c in rows
        )
        terminal.print_json(terminal.out, *found)
        return
    cells = (
        ("*" if used else " ", name, one.url or shown.NOTHING, one.token_file or one.data or shown.NOTHING)
        for name, used, one in rows
    )
    terminal.print_table(terminal.out, ("", "NAME", "URL", "TOKEN FILE OR DATA FOLDER"), cells)


@context.command
@_name
def delete(name: str) -> None:
    """Forget an engine. Nothing else happens to it."""
    from cli import contexts, terminal

    known = contexts.remembered()
    contexts.named(known, name)
    left = {other: one for other, one in known.contexts.items() if other != name}
    contexts.remember(contexts.Contexts(current=None if known.current == name else known.current, contexts=left))
    terminal.print_line(terminal.out, f"forgot {name!r}")
