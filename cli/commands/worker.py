"""`flows worker`: workers with an identity of their own, which can be revoked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import options

if TYPE_CHECKING:
    from cli.client import Api

PATH = "/workers"
ONCE = (
    "warning: this token is shown once, and enrols worker {name!r} once, until {end}. Bring it to that machine in a "
    "way that nobody else reads: whoever uses it first is {name!r}"
)


@click.group
def worker() -> None:
    """Enrol workers on other machines, and revoke them."""


@worker.group
def token() -> None:
    """Create one-time tokens, by which workers enrol themselves."""


@token.command
@click.argument("name")
@click.option(
    "--label",
    "labels",
    metavar="KEY=VALUE",
    multiple=True,
    help="A label that the worker has from then on, such as site=a; can be repeated.",
)
@click.option(
    "--expires", type=options.FutureTime(), help="Until when it can be used: 4h, or 2027-01-31.  [default: 1h]"
)
@options.as_json
@options.api
def create(api: Api, name: str, labels: Sequence[str], expires: datetime | None, as_json: bool) -> None:
    """Let a worker called NAME enrol itself, and print its one-time token: once. The name is never used again."""
    from cli import shown, terminal
    from schemas.labels import parsed

    body: dict[str, Any] = {"name": name, "labels": parsed(",".join(labels))}
    if expires is not None:
        body["expires_at"] = expires.isoformat()
    made = api.call("POST", PATH, json=body)
    terminal.print_line(terminal.err, (ONCE.format(name=name, end=shown.time(made["expires_at"])), "yellow"))
    if as_json:
        terminal.print_json(terminal.out, made)
    else:
        terminal.print_line(terminal.out, made["token"])


@worker.command
@click.option("--url", required=True, type=options.Address(), envvar="FLOWS_URL", help="The API.")
@click.option(
    "--token-file",
    "source",
    required=True,
    type=click.File(),
    help="A file with the one-time token; - for standard input.",
)
@click.option(
    "--state",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    envvar="FLOWS_STATE_DIR",
    help="The worker's own folder, where its identity is kept.  [FLOWS_STATE_DIR]",
)
@options.ca
def enrol(url: str, source: Any, state: Path, ca: Path | None) -> None:
    """Give this machine's worker an identity of its own, by a one-time token.

    It makes a secret, keeps it in the folder, and tells the API only a SHA-256 of it. `flows serve worker` with the
    same FLOWS_STATE_DIR is that worker from then on. After a failure call it again, with the same token.
    """
    from msgspec import structs

    from cli import enrolment, terminal, tls
    from cli.client import Api
    from schemas.labels import canonical
    from schemas.tokens import digest_of
    from schemas.workers import user_of

    shown = source.read(4096).strip()
    file = state.resolve() / enrolment.FILE
    mine = _begun(file, shown, url)
    with Api(url, None, trust=None if ca is None else tls.trusting(ca)) as api:
        made = api.call("POST", f"{PATH}/enrol", json={"token": shown, "digest": digest_of(mine.secret)})
    enrolment.write(file, structs.replace(mine, labels=made["labels"], nats_url=made["nats_url"]))
    labels = canonical(made["labels"]) or "no labels"
    where = made["nats_url"] or "the address that an administrator names, in FLOWS_NATS_URL"
    text = (
        f"enrolled worker {made['name']!r} with {labels}; its identity is in {file}. It connects to {where}, as the "
        f"user {user_of(made['name'])!r}: start it with `FLOWS_STATE_DIR={state} flows serve worker`"
    )
    terminal.print_line(terminal.out, text)


def _begun(file: Path, token: str, url: str) -> Any:
    """Return the identity that a token is to enrol, with its secret, which is kept before anybody is told of it.

    Raises `ValueError` when it is no token, or another worker is enrolled here.
    """
    from secrets import token_urlsafe

    from cli import enrolment
    from schemas.tokens import BYTES
    from schemas.workers import named

    name = named(token)
    if name is None:
        raise ValueError("that is no one-time token of a worker: was it cut off? `flows worker token create` makes one")
    found = enrolment.read(file)
    if found is not None and found.name == name:
        return found
    if found is not None and found.labels is not None:
        raise ValueError(f"worker {found.name!r} is enrolled here: remove {file} first, if it is to be no more")
    made = enrolment.Enrolment(name=name, url=url, secret=token_urlsafe(BYTES))
    enrolment.write(file, made)
    return made


def _complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of workers that can be revoked: by asking the engine, or none."""
    where = [ctx.params.get(name) for name in ("data", "context", "url", "token_file", "ca")]
    with suppress(Exception), options.connected(*where) as api:
        names = [one["name"] for one in api.call("GET", PATH)["enrolments"] if one["status"] != "revoked"]
        return [name for name in names if name.startswith(incomplete)]
    return []


@worker.command
@click.argument("name", shell_complete=_complete)
@options.api
def revoke(api: Api, name: str) -> None:
    """Revoke a worker, for ever: NATS lets it do nothing any more, and what it had taken is retried elsewhere."""
    from cli import terminal
    from cli.client import segment

    api.call("DELETE", f"{PATH}/{segment(name)}")
    terminal.print_line(terminal.out, f"revoked worker {name!r}")
