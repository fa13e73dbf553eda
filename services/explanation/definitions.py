"""Definitions as they were at any time, and who changed them. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime
from typing import Literal, cast

from bus.envelope import Stored
from schemas.base import Value
from schemas.definitions import Definition, Flow, Freeze, Group, Kind, Policy, Repository, Schedule, Settings, Vm
from schemas.events import Defined, FreezeDefined, SettingsDefined, TokenDefined, WorkerDefined
from schemas.ids import ENGINE
from services.catalogue import defined_kind

Sort = Kind | Literal["freeze", "settings"]
Content = Definition | Freeze | Settings


class Change(Value, frozen=True):
    """A definition as it is from a message on; None: it is deleted."""

    entry: Stored
    definition: Content | None


class Definitions:
    """All versions of definitions, in the order of the log. `take` changes it in place."""

    def __init__(self) -> None:
        self._of: dict[tuple[Sort, str], list[Change]] = {}

    def take(self, entry: Stored, event: Defined) -> None:
        """Take in a definition. What only repeats the one before is no change."""
        sort: Sort
        match event:
            case TokenDefined() | WorkerDefined():
                return  # who may do what changes nothing about why a flow ran
            case FreezeDefined():
                sort = "freeze"
            case SettingsDefined():
                sort = "settings"
            case _:
                sort = defined_kind(event)
                if event.definition is not None and event.definition.id != event.id:
                    return  # no service takes it in
        changes = self._of.setdefault((sort, event.id), [])
        if not changes or changes[-1].definition != event.definition:
            changes.append(Change(entry, event.definition))

    def of(self, sort: Sort, id_: str) -> list[Change]:
        return self._of.get((sort, id_), [])

    def at(self, sort: Sort, id_: str | None, sequence: int) -> Change | None:
        """Return the last change of a definition up to a sequence; None: nothing is known of it."""
        changes = self.of(sort, id_ or "")
        place = bisect_right(changes, sequence, key=lambda change: change.entry.sequence)
        return changes[place - 1] if place else None

    def before(self, sort: Sort, id_: str | None, at: datetime) -> Change | None:
        """Return the change that was in force at an instant; what changed in that very instant was not yet."""
        earlier = (change for change in self.of(sort, id_ or "") if change.entry.envelope.time < at)
        return max(earlier, key=lambda change: change.entry.sequence, default=None)

    def since(
        self, sort: Sort, id_: str | None, sequence: int, holds: Callable[[Content | None], bool]
    ) -> Change | None:
        """Return the change since which something holds of a definition, at a sequence; None when it does not hold."""
        found = None
        for change in self.of(sort, id_ or ""):
            if change.entry.sequence > sequence:
                break
            found = (found or change) if holds(change.definition) else None
        return found

    def name(self, sort: Sort, id_: str | None, sequence: int) -> str:
        """Return what people call a definition, also one that was deleted; its id when nothing is known of it."""
        known = [one for one in self.of(sort, id_ or "") if one.definition is not None]
        earlier = [one for one in known if one.entry.sequence <= sequence] or known[:1]
        match earlier[-1].definition if earlier else None:
            case Vm() as vm:
                return vm.vm_name
            case Group() | Schedule() | Repository() | Policy() | Flow() as named:
                return named.name
            case _:
                return id_ or ""

    def flow_named(self, name: str) -> str | None:
        """Return the id of a flow that is or was last called so, or whose id this is; one that is there goes first."""
        found: dict[bool, str] = {}
        for (sort, id_), changes in self._of.items():
            known = [one.definition for one in changes if isinstance(one.definition, Flow)]
            if sort == "flow" and (id_ == name or (known and known[-1].name == name)):
                found[changes[-1].definition is not None] = id_
        return found.get(True) or found.get(False)

    def flow(self, id_: str, sequence: int) -> Flow | None:
        found = self.at("flow", id_, sequence)
        return cast("Flow | None", found.definition) if found else None

    def schedule(self, id_: str | None, sequence: int) -> Schedule | None:
        found = self.at("schedule", id_, sequence)
        return cast("Schedule | None", found.definition) if found else None

    def repository(self, id_: str, sequence: int) -> Repository | None:
        found = self.at("repository", id_, sequence)
        return cast("Repository | None", found.definition) if found else None

    def settings(self, sequence: int) -> Settings:
        found = self.at("settings", ENGINE, sequence)
        return cast("Settings", found.definition) if found and found.definition else Settings()


def is_disabled(definition: Content | None) -> bool:
    """Tell whether a definition is there, and disabled."""
    return definition is not None and getattr(definition, "enabled", True) is False


def is_gone(definition: Content | None) -> bool:
    """Tell whether a definition was deleted."""
    return definition is None
