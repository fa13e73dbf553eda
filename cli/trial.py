"""What is wrong with a document, before anything of it is made: its shapes by the API's, its meaning by the registry's.

The registry's own decision is taken for each change, one after the other, on the definitions that are there. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, cast

import msgspec

from api import requests
from api.validation import errors_in
from bus.subjects import TABLE
from schemas.commands import Command
from schemas.definitions import Definition, Kind, Settings
from schemas.events import Rejected, SettingsDefined
from schemas.ids import ENGINE
from services.catalogue import Catalogue, defined
from services.registry.changes import changes

ACTOR = "flows apply"


class Bodies(NamedTuple):
    """What a kind of definition is created and changed with."""

    request: type[Any]
    patch: type[Any]


BODIES: dict[Kind, Bodies] = {
    "vm": Bodies(requests.VmRequest, requests.VmPatchRequest),
    "group": Bodies(requests.GroupRequest, requests.GroupPatchRequest),
    "schedule": Bodies(requests.ScheduleRequest, requests.SchedulePatchRequest),
    "repository": Bodies(requests.RepositoryRequest, requests.RepositoryPatchRequest),
    "policy": Bodies(requests.PolicyRequest, requests.PolicyPatchRequest),
    "flow": Bodies(requests.FlowRequest, requests.FlowPatchRequest),
    "notification": Bodies(requests.NotificationRequest, requests.NotificationPatchRequest),
}


def unknown_fields(given: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    """Yield what to say of each field that is not known."""
    for field in given:
        if field not in known:
            near = get_close_matches(field, known, n=1)
            advice = f"do you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            yield f"there is no field {field!r}; {advice}"


def _wrong(value: Any, shape: Any, path: str = "") -> list[str]:
    return [f"{one.field}: {one.message}" for one in errors_in(value, shape, path)]


class Trial:
    """The definitions of a system as they would be after the changes that were tried. `time`: now."""

    def __init__(self, definitions: Sequence[Definition], settings: Settings, time: datetime) -> None:
        self._time = time
        self._catalogue = Catalogue()
        self._catalogue.evolve(SettingsDefined(id=ENGINE, version=settings.version, definition=settings))
        for definition in definitions:
            self._catalogue.evolve(defined(definition))

    def create(self, kind: Kind, id_: str, body: dict[str, Any]) -> list[str]:
        """Create a definition from a request's body; return what is wrong with it."""
        if wrong := _wrong(body, BODIES[kind].request):
            return wrong
        spec = {name: value for name, value in body.items() if name != "context_id"}
        return self._decide(kind, "create", id=id_, spec=spec)

    def update(self, kind: Kind, id_: str, patch: dict[str, Any]) -> list[str]:
        """Change a definition by the body of a request; return what is wrong with it."""
        if wrong := _wrong(patch, BODIES[kind].patch):
            return wrong
        return self._decide(kind, "update", id=id_, patch=patch)

    def delete(self, kind: Kind, id_: str) -> list[str]:
        """Delete a definition; return why it cannot be."""
        return self._decide(kind, "delete", id=id_)

    def wrong_members(self, members: Any) -> list[str]:
        """Return what is wrong with the members that a group is to have."""
        if wrong := _wrong(members, list[requests.MemberRequest], "members"):
            return wrong
        ids = [member["context_id"] for member in members]
        return [f"members: there is no VM {id_!r}" for id_ in ids if id_ not in self._catalogue.vms]

    def _decide(self, kind: Kind, verb: Literal["create", "update", "delete"], **fields: Any) -> list[str]:
        tag = f"command.{kind}.{verb}"
        try:
            command = cast("Command", msgspec.convert({"type": tag, **fields}, TABLE[tag].message))
        except msgspec.ValidationError as error:
            return [str(error)]
        outcome = changes(self._catalogue, command, actor=ACTOR, time=self._time)
        if isinstance(outcome, Rejected):
            return [f"{outcome.field}: {outcome.reason}" if outcome.field else outcome.reason]
        for event in outcome:
            self._catalogue.evolve(event)
        return []
