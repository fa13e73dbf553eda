"""`flows group`: protection groups, and the VMs that are in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli import options, shown
from cli.definitions import Found, Kind, complete, reference
from cli.nouns import GROUP, VM, id_of

if TYPE_CHECKING:
    from cli.client import Api


def _members(api: Api, found: Found) -> Found:
    return {"vms": list(api.all(f"{GROUP.path}/{found['id']}/vms", "vms"))}


def _prepare(api: Api, given: Found) -> None:
    if vms := given.pop("vms", ()):
        given["members"] = tuple({"context_id": id_of(api, VM, one)} for one in vms)


_vms = click.argument("vms", metavar="VM...", nargs=-1, required=True, shell_complete=complete(VM))
_members_option = click.option(
    "--vm", "vms", multiple=True, shell_complete=complete(VM), help="A VM in it, by name or id; can be repeated."
)

group = Kind(
    GROUP,
    (
        ("STATUS", lambda found: shown.switch(found["enabled"])),
        ("VMS", lambda found: str(found["total_vms"])),
        ("ENABLED", lambda found: str(found["enabled_vms"])),
        ("DESCRIPTION", lambda found: found["description"]),
    ),
    but=("members",),
    added=_members_option,
    prepare=_prepare,
    also=_members,
).group()


@group.command("add-vm")
@reference(GROUP)
@_vms
@click.option("--disabled", is_flag=True, help="Leave it out of executions for now.")
@click.option("--priority", type=int, default=0, help="Higher goes first.")
@options.api
def add_vm(api: Api, reference: str, vms: tuple[str, ...], disabled: bool, priority: int) -> None:
    """Put VMs into a group."""
    from cli import terminal

    path = f"{GROUP.path}/{id_of(api, GROUP, reference)}/vms"
    for id_ in [id_of(api, VM, one) for one in vms]:
        api.call("POST", path, json={"context_id": id_, "enabled": not disabled, "priority": priority})
    terminal.print_line(terminal.out, f"added {shown.plural(len(vms), 'VM')} to group {reference!r}")


@group.command("remove-vm")
@reference(GROUP)
@_vms
@options.api
def remove_vm(api: Api, reference: str, vms: tuple[str, ...]) -> None:
    """Take VMs out of a group."""
    from cli import terminal

    path = f"{GROUP.path}/{id_of(api, GROUP, reference)}/vms"
    for id_ in [id_of(api, VM, one) for one in vms]:
        api.call("DELETE", f"{path}/{id_}")
    terminal.print_line(terminal.out, f"removed {shown.plural(len(vms), 'VM')} from group {reference!r}")
