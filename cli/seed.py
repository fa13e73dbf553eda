"""The environment's values of the engine's settings are appended to the log once; from then on the log counts.

The process that runs the set-up does so when it starts. A variable seeds its setting unless a command named that
setting before, or any command came from another actor than the environment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

from msgspec import UNSET, convert

from bus.clock import now
from bus.connection import connect
from bus.envelope import Entry, Envelope, Stored, envelope
from bus.errors import Conflict, Unknown
from bus.log import Log
from cli.settings import VARIABLES, Seed
from schemas.commands import UpdateSettings
from schemas.definitions import Settings, SettingsPatch
from schemas.events import Rejected, SettingsDefined
from schemas.ids import ENGINE

log = logging.getLogger(__name__)

ACTOR = "environment"
PATIENCE = 5.0  # seconds in which a registry that is there has decided
COMMANDS = "command.settings.update"
SUBJECTS = (COMMANDS, "catalog.settings.*", "rejected.settings.*")


class LoggedSettings:
    """The settings on the log, folded in its order."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.settings = Settings()
        self.named: set[str] = set()  # settings that a command has named
        self.pending: dict[str, UpdateSettings] = {}  # by id: commands without an outcome
        self._over: set[str | None] = set()  # commands with one; what is there again has no effect
        for entry in entries:
            self.take(entry)

    def take(self, entry: Entry) -> None:
        if not isinstance(entry, Stored):
            return
        sent = entry.envelope
        match sent.data:
            case UpdateSettings() as command:
                if sent.id not in self._over:
                    self.pending[sent.id] = command
                self.named |= {name for name in VARIABLES if getattr(command.patch, name) is not UNSET}
            case SettingsDefined() as event:
                self.settings = event.definition
                self._end(sent.causationid)
            case Rejected():
                self._end(sent.causationid)
            case _:
                pass

    def _end(self, command_id: str | None) -> None:
        self._over.add(command_id)
        self.pending.pop(command_id or "", None)

    def unnamed(self, given: Iterable[str]) -> list[str]:
        """Return which of these settings the environment may seed."""
        if self.settings.updated_by not in {None, ACTOR}:
            return []
        return [name for name in given if name not in self.named and getattr(self.settings, name) is None]

    def value(self, name: str) -> Seed | None:
        """Return a setting as it will be when all commands have their outcome."""
        patches = [getattr(command.patch, name) for command in self.pending.values()]
        return next((value for value in reversed(patches) if value is not UNSET), getattr(self.settings, name))


async def seed(url: str, given: Mapping[str, Seed]) -> None:
    """Put the environment's settings on the log where it may, and wait for the registry; log where they differ.

    `given`: values by setting. Raises `Unavailable` when the log cannot be reached.
    """
    if not given:
        return
    client = await connect(url, "flows-settings", user="setup")
    try:
        flows_log = await Log.open(client)
        await _append(flows_log, given)
        logged = await _settled(flows_log)
    finally:
        await client.close()
    if logged.pending:
        log.warning(
            "no registry has answered within %.0f s: what FLOWS_… variables seed counts when one does",
            PATIENCE,
            extra={"action": "settings_pending", "commands": list(logged.pending)},
        )
    for name, value in given.items():
        if (there := logged.value(name)) != value:
            log.warning(
                "%s is %s, and the log's setting %s is %s: the log counts. `flows settings set` changes it",
                VARIABLES[name],
                value,
                name,
                "none" if there is None else there,
                extra={"action": "setting_differs", "variable": VARIABLES[name], "setting": name},
            )


async def _append(flows_log: Log, given: Mapping[str, Seed]) -> None:
    """Append the commands that are missing, all at once, and guarded by all commands on settings."""
    while True:
        guard = await flows_log.last_sequence(COMMANDS)
        missing = LoggedSettings(await flows_log.read(SUBJECTS)).unnamed(given)
        if not missing:
            return
        with suppress(Conflict, Unknown):  # what is on the log now decides
            await flows_log.append([_command(name, given[name]) for name in missing], expect={COMMANDS: guard})
            log.info("the environment seeds %s", ", ".join(missing), extra={"action": "settings_seeded"})


def _command(name: str, value: Seed) -> Envelope:
    command = UpdateSettings(id=ENGINE, patch=convert({name: value}, SettingsPatch))
    id_ = f"settings:seed:{name}"
    return envelope(command, id=id_, source="environment", time=now(), actor=ACTOR, correlationid=id_)


async def _settled(flows_log: Log) -> LoggedSettings:
    """Return the settings on the log once every command has its outcome, or after `PATIENCE`."""
    logged = LoggedSettings()
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            async for page in flows_log.follow(SUBJECTS, after=0):
                for entry in page.entries:
                    logged.take(entry)
                if page.caught_up and not logged.pending:
                    break
    return logged
