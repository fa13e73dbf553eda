"""`flows token`: who may use the API, and what they may do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

import click

from cli import options
from cli.definitions import complete as complete_name
from cli.nouns import GROUP
from schemas.definitions import Role

if TYPE_CHECKING:
    from cli.client import Api

Found = dict[str, Any]
PATH = "/tokens"
ONCE = (
    "warning: this secret is shown once, and nobody can show it again. Keep it in a file that only you can read; "
    "whoever has it is {name!r}"
)


@click.group
def token() -> None:
    """Create, list and revoke tokens of the API."""


@token.command
@click.option("--name", required=True, help="Who holds it: the name in the audit log. It is never used again.")
@click.option(
    "--role",
    required=True,
    type=click.Choice(get_args(Role)),
    help="A viewer reads; an operator also runs, cancels, enables and disables; an admin also defines.",
)
@click.option(
    "--group",
    "groups",
    multiple=True,
    help="Only the VMs of this group, and their flows; may be repeated.  [default: everything]",
    shell_complete=complete_name(GROUP),
)
@click.option(
    "--expires", type=options.FutureTime(), help="When it ends by itself: 90d, or 2027-01-31.  [default: never]"
)
@options.as_json
@options.api
def create(api: Api, name: str, role: str, groups: Sequence[str], expires: datetime | None, as_json: bool) -> None:
    """Create a token, and print its secret: once."""
    from cli import terminal

    body: Found = {"name": name, "role": role, "groups": list(groups) or None}
    if expires is not None:
        body["expires_at"] = expires.isoformat()
    made = api.call("POST", PATH, json=body)
    terminal.print_line(terminal.err, (ONCE.format(name=name), "yellow"))
    if as_json:
        terminal.print_json(terminal.out, made)
    else:
        terminal.print_line(terminal.out, made["secret"])


@token.command("list")
@options.as_json
@options.api
def list_(api: Api, as_json: bool) -> None:
    """List tokens, newest first, revoked and expired ones too."""
    from cli import shown, terminal

    found = list(api.all(PATH, "tokens"))
    if as_json:
        terminal.print_json(terminal.out, *found)
        return
    named = {one["id"]: one["name"] for one in api.all(GROUP.path, GROUP.key)} if any(_groups(found)) else {}
    rows = [
        [
            one["name"],
            one["role"],
            "everything" if one["groups"] is None else ", ".join(named.get(id_, id_) for id_ in one["groups"]),
            one["status"],
            shown.time(one["expires_at"]) if one["expires_at"] else "never",
            shown.time(one["last_used_at"]) if one["last_used_at"] else "",
            one["created_by"],
        ]
        for one in found
    ]
    titles = ["NAME", "ROLE", "GROUPS", "STATUS", "EXPIRES", "LAST USED", "CREATED BY"]
    terminal.print_table(terminal.out, titles, rows)


def _groups(found: Sequence[Found]) -> Iterator[Any]:
    return (one["groups"] for one in found)


def _complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of tokens that can be revoked: by asking the engine, or none."""
    where = [ctx.params.get(name) for name in ("data", "context", "url", "token_file")]
    with suppress(Exception), options.connected(*where) as api:
        names = [one["name"] for one in api.all(PATH, "tokens") if one["status"] != "revoked"]
        return [name for name in names if name.startswith(incomplete)]
    return []


@token.command
@click.argument("reference", metavar="TOKEN", shell_complete=_complete)
@options.api
def revoke(api: Api, reference: str) -> None:
    """Revoke a token, by name or id, for ever: it opens nothing any more. What was done with it stays in the audit."""
    from cli import terminal
    from cli.client import segment

    found = next(api.all(PATH, "tokens", name=reference), None) or api.call("GET", f"{PATH}/{segment(reference)}")
    api.call("DELETE", f"{PATH}/{found['id']}")
    terminal.print_line(terminal.out, f"revoked token {found['name']!r}")
