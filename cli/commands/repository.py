"""`flows repository`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import shown
from cli.definitions import Found, Kind
from cli.nouns import REPOSITORY

if TYPE_CHECKING:
    from cli.client import Api


def _storage(api: Api, found: Found) -> Found:
    space = api.call("GET", f"{REPOSITORY.path}/{found['id']}/storage")
    counted = {name: shown.size(value) if name.endswith("_bytes") else value for name, value in space.items()}
    return {name.removesuffix("_bytes"): value for name, value in counted.items()}


repository = Kind(
    REPOSITORY,
    (
        ("TYPE", lambda found: found["type"]),
        ("STATUS", lambda found: shown.switch(found["enabled"])),
        ("LOCATION", lambda found: found["location"]),
        ("JOBS AT ONCE", lambda found: shown.value(found["max_concurrent_jobs"])),
    ),
    also=_storage,
).group()
