"""`flows notification`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from cli import options, shown
from cli.definitions import Found, Kind, reference
from cli.nouns import FLOW, NOTIFICATION, id_of
from cli.options import NONE

if TYPE_CHECKING:
    from cli.client import Api


def _receiver(found: Found) -> str:
    """Return where its messages go, as far as a table may say."""
    return str(found["url"] or f"{found['receiver']} ({found['secret_env'] or found['secret_file']})")


def _waiting(found: Found) -> str:
    """Return what its receiver has not had yet."""
    if not found["waiting"]:
        return shown.NOTHING
    since = "" if found["retrying_since"] is None else f", retrying since {shown.time(found['retrying_since'])}"
    return f"{shown.plural(found['waiting'], 'message')}{since}"


def _prepare(api: Api, given: Found) -> None:
    """Turn the flows that were named into their ids."""
    names = given.get("flows") or ()
    given["flows"] = tuple(one if one == NONE else id_of(api, FLOW, one) for one in names)


notification = Kind(
    NOTIFICATION,
    (
        ("STATUS", lambda found: shown.switch(found["enabled"])),
        ("FROM", lambda found: found["severity"]),
        ("FLOWS", lambda found: ", ".join(found["flow_names"]) or "all"),
        ("RECEIVER", _receiver),
        ("WAITING", _waiting),
    ),
    prepare=_prepare,
).group()
notification.help = "Say who is told of what, and try it."


@notification.command("test")
@reference(NOTIFICATION)
@options.as_json
@options.api
def test(api: Api, as_json: bool, reference: str) -> None:
    """Send a message, marked as a test, and print what the receiver replied."""
    from cli import terminal

    found = api.call("POST", f"{NOTIFICATION.path}/{id_of(api, NOTIFICATION, reference)}/test")
    if as_json:
        terminal.print_json(terminal.out, found)
    else:
        said = "delivered" if found["delivered"] else "not delivered"
        terminal.print_line(terminal.out, f"{said} after {found['duration_seconds']:.1f} s: {found['reply']}")
    if not found["delivered"]:
        sys.exit(1)


@notification.command("deliveries")
@reference(NOTIFICATION)
@click.option("--state", type=click.Choice(["waiting", "retrying", "delivered", "dropped"]), help="Only those.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many at most.")
@options.as_json
@options.api
def deliveries(api: Api, as_json: bool, reference: str, state: str | None, limit: int) -> None:
    """List a notification's messages, newest first, and what became of each."""
    from cli import terminal

    path = f"{NOTIFICATION.path}/{id_of(api, NOTIFICATION, reference)}/deliveries"
    query = {"limit": limit} if state is None else {"limit": limit, "state": state}
    found = api.call("GET", path, params=query)["deliveries"]
    if as_json:
        terminal.print_json(terminal.out, *found)
        return
    rows = [[shown.time(one["created_at"]), one["state"], one["title"], _became(one)] for one in found]
    terminal.print_table(terminal.out, ["AT", "STATE", "MESSAGE", "RECEIVER SAID"], rows)


def _became(delivery: Found) -> str:
    """Return what the receiver said, or why it did not get a message."""
    return str((delivery["reply"] if delivery["state"] == "delivered" else delivery["last_error"]) or shown.NOTHING)
