"""What the environment says of the engine's settings is put on the log once; from then on the log counts.

Every process that knows a variable does so when it starts, whichever is first. A variable seeds its setting unless
somebody has spoken of that setting before, or anybody but the environment has set anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

from msgspec import UNSET

from bus.clock import now
from bus.connection import connect
from bus.envelope import Entry, Envelope, Stored, envelope
from bus.errors import Conflict, Unknown
from bus.log import Log
from cli.settings import VARIABLES
from schemas.commands import UpdateSettings
from schemas.definitions import Settings, SettingsPatch
from schemas.events import Rejected, SettingsDefined
from schemas.ids import ENGINE

log = logging.getLogger(__name__)

ACTOR = "environment"
PATIENCE = 5.0  # seconds in which a registry that is there has answered
COMMANDS = "command.settings.update"
SUBJECTS = (COMMANDS, "catalog.settings.*", "rejected.settings.*")


class Said:
    """What the log says of the settings, folded in its order."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.settings = Settings()
        self.named: set[str] = set()  # settings that somebody has spoken of
        self.pending: dict[str, UpdateSettings] = {}  # by id: commands without an outcome
        for entry in entries:
            self.take(entry)

    def take(self, entry: Entry) -> None:
        if not isinstance(entry, Stored):
            return
        sent = entry.envelope
        match sent.data:
            case UpdateSettings() as command:
                self.pending[sent.id] = command
                self.named |= {name for name in VARIABLES if getattr(command.patch, name) is not UNSET}
            case SettingsDefined() as event:
                self.settings = event.definition
                self.pending.pop(sent.causationid or "", None)
            case Rejected():
                self.pending.pop(sent.causationid or "", None)
            case _:
                pass

    def unspoken(self, given: Iterable[str]) -> list[str]:
        """Return which of these settings the environment may seed."""
        if self.settings.updated_by not in {None, ACTOR}:
            return []
        return [name for name in given if name not in self.named and getattr(self.settings, name) is None]

    def value(self, name: str) -> int | None:
        """Return a setting as it will be when all commands have their outcome."""
        patches = [getattr(command.patch, name) for command in self.pending.values()]
        return next((value for value in reversed(patches) if value is not UNSET), getattr(self.settings, name))


async def seed(url: str, given: Mapping[str, int]) -> None:
    """Put the environment's settings on the log where it may, and wait for the registry; tell what the log has instead.

    `given`: values by setting. Raises `Unavailable` when the log cannot be reached.
    """
    if not given:
        return
    client = await connect(url, "flows-settings")
    try:
        flows_log = await Log.open(client)
        await _append(flows_log, given)
        said = await _settled(flows_log)
    finally:
        await client.close()
    for name, value in given.items():
        if (there := said.value(name)) != value:
            log.warning(
                "%s is %s, and the log's setting %s is %s: the log counts. `flows settings set` changes it",
                VARIABLES[name],
                value,
                name,
                "none" if there is None else there,
                extra={"action": "setting_differs", "variable": VARIABLES[name], "setting": name},
            )


async def _append(flows_log: Log, given: Mapping[str, int]) -> None:
    """Append the commands that are missing, all at once, and guarded: nobody has asked for anything meanwhile."""
    while True:
        guard = await flows_log.last_sequence(COMMANDS)
        missing = Said(await flows_log.read(SUBJECTS)).unspoken(given)
        if not missing:
            return
        with suppress(Conflict, Unknown):  # what is on the log now decides
            await flows_log.append([_command(name, given[name]) for name in missing], expect={COMMANDS: guard})
            log.info("the environment seeds %s", ", ".join(missing), extra={"action": "settings_seeded"})


def _command(name: str, value: int) -> Envelope:
    command = UpdateSettings(id=ENGINE, patch=SettingsPatch(**{name: value}))
    id_ = f"settings:seed:{name}"
    return envelope(command, id=id_, source="environment", time=now(), actor=ACTOR, correlationid=id_)


async def _settled(flows_log: Log) -> Said:
    """Return what the log says once every command has its outcome, or when that takes too long."""
    said = Said()
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            async for page in flows_log.follow(SUBJECTS, after=0):
                for entry in page.entries:
                    said.take(entry)
                if page.caught_up and not said.pending:
                    break
    return said
