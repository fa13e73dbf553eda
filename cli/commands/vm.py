"""`flows vm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli import shown
from cli.definitions import Found, Kind
from cli.nouns import VM

if TYPE_CHECKING:
    from cli.client import Api


def _disks(api: Api, found: Found) -> Found:
    return {"disks": api.call("GET", f"{VM.path}/{found[VM.id]}/disks")["disks"]}


vm = Kind(
    VM,
    (
        ("ID", lambda found: found["context_id"]),
        ("STATUS", lambda found: shown.switch(found["enabled"])),
        ("POWER", lambda found: found["power_state"]),
        ("OS", lambda found: found["os_type"]),
        ("CPUS", lambda found: str(found["cpu_count"])),
        ("MEMORY", lambda found: f"{found['memory_mb']:,} MB"),
        ("TAGS", lambda found: ", ".join(found["tags"])),
    ),
    added=click.option("--context-id", help="The hypervisor's own id for it.  [default: one is made]"),
    also=_disks,
).group()
