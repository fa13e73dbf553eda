"""The catalogue: the current definitions, folded from `catalog.*`. Pure; registry, scheduler and executor share it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar, cast

from schemas.definitions import (
    Definition,
    Flow,
    Freeze,
    Group,
    Kind,
    Policy,
    Repository,
    Schedule,
    Settings,
    Token,
    Vm,
    VmSpec,
    name_of,
)
from schemas.events import (
    CatalogEvent,
    Defined,
    FlowDefined,
    FreezeDefined,
    GroupDefined,
    NotificationDefined,
    OfEngine,
    OfKind,
    PolicyDefined,
    RepositoryDefined,
    ScheduleDefined,
    SettingsDefined,
    TokenDefined,
    VmDefined,
    WorkerDefined,
)
from schemas.notifications import Notification
from schemas.workers import Worker
from services.unusable import Unfoldable

D = TypeVar("D", bound=Definition)

EVENT_OF: dict[Kind, type[OfKind]] = {
    "vm": VmDefined,
    "group": GroupDefined,
    "schedule": ScheduleDefined,
    "repository": RepositoryDefined,
    "policy": PolicyDefined,
    "flow": FlowDefined,
    "notification": NotificationDefined,
}


class Catalogue:
    """Definitions by kind and id. A fold's state: `evolve` changes it in place."""

    def __init__(self) -> None:
        self.vms: dict[str, Vm] = {}
        self.groups: dict[str, Group] = {}
        self.schedules: dict[str, Schedule] = {}
        self.repositories: dict[str, Repository] = {}
        self.policies: dict[str, Policy] = {}
        self.flows: dict[str, Flow] = {}
        self.notifications: dict[str, Notification] = {}
        self.freeze: Freeze | None = None
        self.freeze_version = 0
        self.settings = Settings()
        self.tokens: dict[str, Token] = {}
        self.workers: dict[str, Worker] = {}
        self._names: dict[tuple[Kind, str], str] = {}

    def of(self, kind: Kind) -> dict[str, Definition]:
        """Return all definitions of a kind by id."""
        tables = {
            "vm": self.vms,
            "group": self.groups,
            "schedule": self.schedules,
            "repository": self.repositories,
            "policy": self.policies,
            "flow": self.flows,
            "notification": self.notifications,
        }
        return cast("dict[str, Definition]", tables[kind])

    def named(self, kind: Kind, name: str) -> str | None:
        """Return the id of the definition with this name. VMs' names need not be unique and are not found here."""
        return self._names.get((kind, name))

    def evolve(self, event: CatalogEvent) -> None:
        """Take in one `catalog.*` event. Raises `Unfoldable`, and changes nothing, for a definition with another id."""
        assert isinstance(event, Defined)
        named = None if isinstance(event, OfEngine) or event.definition is None else event.definition.id
        if named is not None and named != event.id:
            raise Unfoldable(f"the definition of {defined_kind(event)} {event.id} is one of {named}")
        if isinstance(event, TokenDefined):
            if event.definition is None:
                self.tokens.pop(event.id, None)
            else:
                self.tokens[event.id] = event.definition
            return
        if isinstance(event, WorkerDefined):
            if event.definition is None:
                self.workers.pop(event.id, None)
            else:
                self.workers[event.id] = event.definition
            return
        if isinstance(event, FreezeDefined):
            self.freeze, self.freeze_version = event.definition, event.version
            return
        if isinstance(event, SettingsDefined):
            self.settings = event.definition
            return
        kind = defined_kind(event)
        table = self.of(kind)
        previous = table.pop(event.id, None)
        if previous is not None and self._names.get((kind, name_of(previous))) == event.id:
            del self._names[kind, name_of(previous)]
        if event.definition is not None:
            table[event.id] = event.definition
            if not isinstance(event.definition, VmSpec):
                self._names[kind, name_of(event.definition)] = event.id

    def undoing(self, event: Defined) -> Defined:
        """Return the event that undoes what `event` is about to change."""
        if isinstance(event, FreezeDefined):
            return FreezeDefined(id=event.id, version=self.freeze_version, definition=self.freeze)
        if isinstance(event, SettingsDefined):
            return SettingsDefined(id=event.id, version=self.settings.version, definition=self.settings)
        if isinstance(event, TokenDefined):
            known = self.tokens.get(event.id)
            return TokenDefined(id=event.id, version=known.version if known else 0, definition=known)
        if isinstance(event, WorkerDefined):
            there = self.workers.get(event.id)
            return WorkerDefined(id=event.id, version=there.version if there else 0, definition=there)
        kind = defined_kind(event)
        current = self.of(kind).get(event.id)
        return tombstone(kind, event.id, 0) if current is None else defined(current)

    def users(self, kind: Kind, id: str) -> Iterator[tuple[Kind, Definition]]:  # noqa: A002  the definition's own field
        """Yield what refers to a definition."""
        for flow in self.flows.values():
            target = flow.target_type == kind and flow.target_id == id
            by_field = {"repository": flow.repository_id, "policy": flow.policy_id, "schedule": flow.schedule_id}
            if target or by_field.get(kind) == id:
                yield "flow", flow
        for group in self.groups.values():
            member = kind == "vm" and any(member.context_id == id for member in group.members)
            if member or (kind == "schedule" and group.schedule_id == id):
                yield "group", group


def defined_kind(event: Defined) -> Kind:
    """Return the kind of definition that a `catalog.*` event is about. A freeze is none, nor are the settings."""
    return cast("Kind", str(event.__struct_config__.tag).removeprefix("catalog."))


def defined(definition: Definition) -> Defined:
    """Return the event that a definition is created or changed."""
    match definition:
        case Vm():
            return VmDefined(id=definition.id, version=definition.version, definition=definition)
        case Group():
            return GroupDefined(id=definition.id, version=definition.version, definition=definition)
        case Schedule():
            return ScheduleDefined(id=definition.id, version=definition.version, definition=definition)
        case Repository():
            return RepositoryDefined(id=definition.id, version=definition.version, definition=definition)
        case Policy():
            return PolicyDefined(id=definition.id, version=definition.version, definition=definition)
        case Flow():
            return FlowDefined(id=definition.id, version=definition.version, definition=definition)
        case Notification():
            return NotificationDefined(id=definition.id, version=definition.version, definition=definition)


def tombstone(kind: Kind, id: str, version: int) -> Defined:  # noqa: A002
    """Return the event that a definition is deleted."""
    return EVENT_OF[kind](id=id, version=version, definition=None)
