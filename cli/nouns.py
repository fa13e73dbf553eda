"""The kinds of definitions, in the words of the command line and of the API, and how people name one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.failures import NOT_FOUND, Failure
from schemas import definitions as d
from schemas.base import Value
from schemas.notifications import NotificationPatch, NotificationSpec

if TYPE_CHECKING:
    from cli.client import Api


class Noun(Value, frozen=True, kw_only=True):
    """A kind of definition: the API's path, the key of its lists, and its fields; `id` and `title` are such fields.

    `name` and `plural` are as commands and documents have them.
    """

    name: d.Kind
    plural: str
    path: str
    key: str
    spec: type[Any]
    patch: type[Any]
    id: str = "id"
    title: str = "name"

    @property
    def word(self) -> str:
        """What people call it."""
        return "VM" if self.name == "vm" else self.name

    @property
    def words(self) -> str:
        """What people call several of it."""
        return "VMs" if self.name == "vm" else self.plural


VM = Noun(
    name="vm",
    plural="vms",
    path="/vm-contexts",
    key="vm_contexts",
    spec=d.VmSpec,
    patch=d.VmPatch,
    id="context_id",
    title="vm_name",
)
GROUP = Noun(name="group", plural="groups", path="/machine-groups", key="groups", spec=d.GroupSpec, patch=d.GroupPatch)
SCHEDULE = Noun(
    name="schedule", plural="schedules", path="/schedules", key="schedules", spec=d.ScheduleSpec, patch=d.SchedulePatch
)
REPOSITORY = Noun(
    name="repository",
    plural="repositories",
    path="/repositories",
    key="repositories",
    spec=d.RepositorySpec,
    patch=d.RepositoryPatch,
)
POLICY = Noun(
    name="policy", plural="policies", path="/policies", key="policies", spec=d.PolicySpec, patch=d.PolicyPatch
)
FLOW = Noun(name="flow", plural="flows", path="/protection-flows", key="flows", spec=d.FlowSpec, patch=d.FlowPatch)
NOTIFICATION = Noun(
    name="notification",
    plural="notifications",
    path="/notifications",
    key="notifications",
    spec=NotificationSpec,
    patch=NotificationPatch,
)
# in the order in which they can be created: what refers to something comes after it
NOUNS = (VM, SCHEDULE, GROUP, REPOSITORY, POLICY, FLOW, NOTIFICATION)


def references(shape: type[Any]) -> dict[str, Noun]:
    """Return the fields of a spec or patch that hold the id of a definition of one kind, and the kind."""
    return {field: noun for noun in NOUNS if (field := f"{noun.name}_id") in shape.__struct_fields__}


def one(api: Api, noun: Noun, reference: str) -> dict[str, Any]:
    """Return the definition that is called so, or whose id it is. Raises `Failure` when it is none, or several."""
    from cli.client import segment

    named = [found for found in api.all(noun.path, noun.key, q=reference) if found[noun.title] == reference]
    if len(named) > 1:
        ids = ", ".join(sorted(found[noun.id] for found in named))
        raise Failure(f"{len(named)} {noun.words} are called {reference!r}: name one by its id: {ids}")
    if named:
        return named[0]
    try:
        found: dict[str, Any] = api.call("GET", f"{noun.path}/{segment(reference)}")
    except Failure as error:
        if error.code != NOT_FOUND:
            raise
        raise Failure(f"there is no {noun.word} {reference!r}", NOT_FOUND) from error
    return found


def id_of(api: Api, noun: Noun, reference: str) -> str:
    """Return the id of the definition that is called so, or whose id it is. Raises `Failure`."""
    return str(one(api, noun, reference)[noun.id])
