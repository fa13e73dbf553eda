"""What is wrong with a definition, in itself or beside others: all of it at once. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from schemas.base import brief
from schemas.definitions import (
    CALENDAR_FIELDS,
    MOST_MEMBERS,
    Definition,
    Flow,
    Group,
    Kind,
    Policy,
    Repository,
    Schedule,
    Vm,
    name_of,
)
from schemas.events import Defined, RejectionCode, WrongField
from schemas.labels import Contradiction, contradiction, together
from schemas.notifications import Notification
from services import roots
from services.catalogue import Catalogue
from services.notifier import targets
from services.scheduler import validation
from services.worker.engines import registration

MOST_WRONG = 100  # fields that one refusal names


class Refusal(Exception):
    """Why a command is rejected: raised by a check."""

    def __init__(self, code: RejectionCode, reason: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.code: RejectionCode = code
        self.reason = reason
        self.field = field
        self.fields: list[WrongField] = []

    @classmethod
    def of(cls, refusals: Sequence[Refusal]) -> Refusal:
        """Return several as one. What contradicts something else counts only when nothing is wrong in itself."""
        ordered = sorted(refusals, key=lambda one: one.code != "invalid")
        if len(ordered) == 1:
            return ordered[0]
        fields = [WrongField(field=one.field or "body", reason=one.reason) for one in ordered[:MOST_WRONG]]
        reason = "; ".join(f"{one.field}: {one.reason}" for one in fields)
        several = cls(ordered[0].code, brief(reason), ordered[0].field)
        several.fields = fields
        return several


def check(catalogue: Catalogue, kind: Kind, definition: Definition, current: Definition | None, time: datetime) -> None:
    """Raise when a definition contradicts the catalogue or itself: for all that is wrong at once.

    `current`: as it is now, None when it is new. What is as it is now from before a rule may stay so: it can still be
    renamed or disabled.
    """
    if refusals := list(islice(_refusals(catalogue, kind, definition, current, time), MOST_WRONG)):
        raise Refusal.of(refusals)


def _refusals(
    catalogue: Catalogue, kind: Kind, definition: Definition, current: Definition | None, time: datetime
) -> Iterator[Refusal]:
    holder = catalogue.named(kind, name_of(definition))
    if holder is not None and holder != definition.id:
        yield Refusal("conflict", f"the name {name_of(definition)!r} is taken by another {kind}", "name")
    match definition:
        case Vm():
            yield from _twice([disk.disk_id for disk in definition.disks], "disks", "disk")
            for disk in definition.disks:
                if not disk.path.startswith("/"):
                    reason = f"the path {disk.path!r} of disk {disk.disk_id!r} is not absolute"
                    yield Refusal("invalid", reason, "disks")
        case Group():
            yield from _of_group(catalogue, definition, current)
        case Schedule():
            yield from _of_schedule(definition, current, time)
        case Repository():
            yield from _of_repository(catalogue, definition)
        case Flow():
            yield from _of_flow(catalogue, definition)
        case Notification():
            yield from _of_notification(catalogue, definition, current)
        case Policy():
            pass


def _of_group(catalogue: Catalogue, group: Group, current: Definition | None) -> Iterator[Refusal]:
    before = len(current.members) if isinstance(current, Group) else 0
    if len(group.members) > max(before, MOST_MEMBERS):
        there = f"it would have {len(group.members):,} members"
        yield Refusal("invalid", f"{there}; a group has at most {MOST_MEMBERS:,}", "members")
        return
    yield from _twice([member.context_id for member in group.members], "members", "VM")
    for member in group.members:
        yield from _unknown(catalogue, "vm", member.context_id, "context_id")
    if group.schedule_id is not None:
        yield from _unknown(catalogue, "schedule", group.schedule_id, "schedule_id")


def _of_schedule(schedule: Schedule, current: Definition | None, time: datetime) -> Iterator[Refusal]:
    if current is not None and all(getattr(current, field) == getattr(schedule, field) for field in CALENDAR_FIELDS):
        return
    wrong = list(validation.validate(schedule))
    yield from (Refusal("invalid", one.reason, one.field) for one in wrong)
    if not wrong and (error := validation.never_fires(schedule, time)):
        yield Refusal("invalid", f"it would never fire: {error.reason}", error.field)


def _of_repository(catalogue: Catalogue, repository: Repository) -> Iterator[Refusal]:
    """Check a repository by its engine's rules, unless location and settings stay: an older one may be renamed."""
    before = catalogue.repositories.get(repository.id)
    if before is not None and (before.location, before.config) == (repository.location, repository.config):
        return
    if invalid := registration.validate(repository.type, repository.location, repository.config):
        yield Refusal("invalid", invalid.reason, invalid.field)


def check_places(catalogue: Catalogue, events: Sequence[Defined], own: Sequence[str]) -> None:
    """Raise when a disk or a repository is where none may be, unless it was there: a setting may be newer than it."""
    settings = catalogue.settings
    for definition in (event.definition for event in events):
        match definition:
            case Vm():
                before = catalogue.vms.get(definition.id)
                there = {disk.path for disk in before.disks} if before else set[str]()
                for disk in definition.disks:
                    reason = disk.path not in there and roots.refusal(
                        disk.path, "disk_roots", settings.disk_roots, own, block_devices=settings.block_devices
                    )
                    if reason:
                        raise Refusal("invalid", f"disk {disk.disk_id!r}: {reason}", "disks")
            case Repository() if registration.on_disk(definition.type):
                known = catalogue.repositories.get(definition.id)
                if known is None or known.location != definition.location:
                    reason = roots.refusal(definition.location, "repository_roots", settings.repository_roots, own)
                    if reason:
                        raise Refusal("invalid", reason, "location")
            case _:
                pass


def _of_flow(catalogue: Catalogue, flow: Flow) -> Iterator[Refusal]:
    yield from _unknown(catalogue, flow.target_type, flow.target_id, "target_id")
    if flow.flow_type == "backup" and flow.repository_id is None:
        yield Refusal("invalid", "a backup flow needs a repository", "repository_id")
    if flow.flow_type == "replication" and flow.destination_type is None:
        yield Refusal("invalid", "a replication flow needs a destination", "destination_type")
    references: tuple[tuple[Kind, str | None], ...] = (
        ("repository", flow.repository_id),
        ("policy", flow.policy_id),
        ("schedule", flow.schedule_id),
    )
    for kind, reference in references:
        if reference is not None:
            yield from _unknown(catalogue, kind, reference, f"{kind}_id")
    if found := next(contradictions(catalogue, flow), None):
        yield Refusal("invalid", found, "repository_id")


def contradictions(catalogue: Catalogue, flow: Flow) -> Iterator[str]:
    """Yield in words that a VM of a flow and its repository require what no worker can have, for each such VM."""
    repository = catalogue.repositories.get(flow.repository_id or "")
    if repository is None or not repository.worker_labels:
        return
    group = catalogue.groups.get(flow.target_id) if flow.target_type == "group" else None
    for id_ in [member.context_id for member in group.members] if group else [flow.target_id]:
        vm = catalogue.vms.get(id_)
        try:
            together(vm.worker_labels if vm else {}, repository.worker_labels)
        except Contradiction as found:
            yield contradiction(vm.vm_name if vm else id_, repository.name, found)


def _of_notification(catalogue: Catalogue, notification: Notification, current: Definition | None) -> Iterator[Refusal]:
    before = current.flows if isinstance(current, Notification) else []
    for flow_id in notification.flows:
        if flow_id not in before:  # a flow may be deleted since: then there is nothing to be told of it
            yield from _unknown(catalogue, "flow", flow_id, "flows")
    yield from _twice(notification.flows, "flows", "flow")
    yield from _twice([str(event) for event in notification.events], "events", "event")
    if notification.digest_minutes is not None and notification.digest_at is not None:
        yield Refusal("invalid", "a digest has either `digest_minutes` or `digest_at`", "digest_at")
    if notification.digest_empty and notification.digest_at is None:
        yield Refusal("invalid", "only a digest at a time of day can be empty: give `digest_at`", "digest_empty")
    if (reason := validation.zone_fault(notification.timezone)) is not None:
        yield Refusal("invalid", reason, "timezone")
    yield from _of_receiver(notification)


def _of_receiver(notification: Notification) -> Iterator[Refusal]:
    references = [one for one in (notification.secret_env, notification.secret_file) if one is not None]
    if len(references) > 1:
        yield Refusal("invalid", "the secret has one place: `secret_env` or `secret_file`", "secret_file")
    if notification.receiver == "apprise":
        if not references:
            what = "an apprise URL holds secrets: put it where the notifier finds it, and say where"
            yield Refusal("invalid", f"{what}, by `secret_env` or `secret_file`", "secret_env")
        if notification.url is not None:
            yield Refusal("invalid", "an apprise receiver has no `url`: it is in the secret", "url")
    elif notification.url is None:
        yield Refusal("invalid", "a webhook needs a `url`", "url")
    else:
        if (reason := targets.fault(notification.url)) is not None:
            yield Refusal("invalid", reason, "url")
        if not references:
            what = "a webhook is signed: say where the notifier finds the key"
            yield Refusal("invalid", f"{what}, by `secret_env` or `secret_file`", "secret_env")


def _unknown(catalogue: Catalogue, kind: Kind, id: str, field: str) -> Iterator[Refusal]:  # noqa: A002
    if id not in catalogue.of(kind):
        yield Refusal("invalid", f"there is no {kind} {id!r}", field)


def _twice(ids: list[str], field: str, what: str) -> Iterator[Refusal]:
    if twice := [id_ for id_, times in Counter(ids).items() if times > 1]:
        yield Refusal("invalid", f"{what} {min(twice)!r} is named twice", field)
