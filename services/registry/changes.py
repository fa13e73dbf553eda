"""What a command changes in a catalogue: `catalog.*` events, or one `rejected.*` with the reason. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType, structs

from schemas import commands as c
from schemas.definitions import (
    CALENDAR_FIELDS,
    Definition,
    Flow,
    FlowSpec,
    Freeze,
    Group,
    GroupSpec,
    Kind,
    Member,
    Patch,
    Policy,
    PolicySpec,
    Repository,
    RepositorySpec,
    Schedule,
    ScheduleSpec,
    Settings,
    SettingsPatch,
    Spec,
    Vm,
    VmSpec,
    name_of,
)
from schemas.events import (
    Defined,
    FreezeDefined,
    Rejected,
    SettingsDefined,
)
from schemas.ids import ENGINE, instant
from schemas.notifications import Notification, NotificationSpec
from services import roots
from services.catalogue import Catalogue, defined, tombstone
from services.decision import LIMIT
from services.registry import tokens, workers
from services.registry.checks import Refusal, check, check_places

LONGEST_FREEZE = timedelta(days=366)
LARGEST = 7 * 1024 * 1024  # bytes of one definition: it has to fit into one message of the log
LAST_VERSION = 2_147_483_647

D = TypeVar("D", bound=Definition)

_encoder = msgspec.json.Encoder()


def changes(
    catalogue: Catalogue, command: c.Command, *, actor: str, time: datetime, own: Sequence[str] = ()
) -> Sequence[Defined] | Rejected:
    """Return what a command changes (the same definition again when nothing differs), or why it is rejected.

    `actor` and `time` are the command's own. `own`: folders and files of the engine, which are nobody's disk.
    """
    try:
        events = _events(catalogue, command, actor, time)
        check_places(catalogue, events, own)
        _check_size(events)
    except Refusal as refusal:
        entity, verb = c.entity_of(command), c.verb_of(command)
        return Rejected(
            entity=entity,
            verb=verb,
            id=command.id,
            code=refusal.code,
            reason=refusal.reason,
            field=refusal.field,
            fields=refusal.fields,
        )
    return events


def _check_size(events: Sequence[Defined]) -> None:
    """Raise when a change does not fit into one atomic batch of messages, or a definition into its message."""
    if len(events) > LIMIT:
        reason = f"it would change {len(events)} definitions at once; at most {LIMIT} can change together"
        raise Refusal("invalid", reason)
    for event in events:
        if event.version > LAST_VERSION:
            raise Refusal("conflict", f"{event.id!r} is at its last version: nothing can come after it")
        if (size := len(_encoder.encode(event))) > LARGEST:
            raise Refusal("invalid", f"the definition has {size:,} bytes; at most {LARGEST:,} fit into one")


def _events(catalogue: Catalogue, command: c.Command, actor: str, time: datetime) -> Sequence[Defined]:
    if isinstance(command, c.SetFreeze | c.LiftFreeze):
        return [_frozen(catalogue, command, actor, time)]
    if isinstance(command, c.UpdateSettings):
        return [_settings(catalogue, command, actor, time)]
    if isinstance(command, c.CreateToken | c.RevokeToken):
        return [tokens.changed(catalogue, command, actor, time)]
    if isinstance(command, c.CreateWorker | c.EnrolWorker | c.RevokeWorker):
        return [workers.changed(catalogue, command, actor, time)]
    kind = c.definition_kind(command)
    match command:
        case c.Create():
            return [_create(catalogue, kind, command, actor, time)]
        case c.Change():
            return _change(catalogue, kind, command, _current(catalogue, kind, command), time)
        case _:
            raise TypeError(f"{command!r} is not about a definition")


def _frozen(catalogue: Catalogue, command: c.SetFreeze | c.LiftFreeze, actor: str, time: datetime) -> FreezeDefined:
    """Return the freeze as it is from here on. A new one replaces the one that is."""
    version = catalogue.freeze_version + 1
    if isinstance(command, c.LiftFreeze):
        if catalogue.freeze is None or catalogue.freeze.until <= time:
            raise Refusal("not_found", "there is no freeze")
        return FreezeDefined(id=ENGINE, version=version, definition=None)
    if command.until <= time:
        raise Refusal("invalid", f"{instant(command.until)} has passed already", "until")
    if command.until - time > LONGEST_FREEZE:
        raise Refusal("invalid", f"a freeze is at most {LONGEST_FREEZE.days} days long", "until")
    freeze = Freeze(since=time, until=command.until, reason=command.reason, created_by=actor)
    return FreezeDefined(id=ENGINE, version=version, definition=freeze)


def _settings(catalogue: Catalogue, command: c.UpdateSettings, actor: str, time: datetime) -> SettingsDefined:
    """Return the settings as they are from here on."""
    current = catalogue.settings
    if command.id != ENGINE:
        raise Refusal("not_found", f"there are no settings {command.id!r}: those of the whole engine are {ENGINE!r}")
    if command.if_version is not None and command.if_version != current.version:
        raise Refusal("version", f"the settings are at version {current.version}, not {command.if_version}")
    changed = structs.replace(current, **_given(command.patch))
    _check_roots(changed)
    if changed != current or not current.version:
        changed = structs.replace(changed, version=current.version + 1, updated_at=time, updated_by=actor)
    return SettingsDefined(id=ENGINE, version=changed.version, definition=changed)


def _check_roots(settings: Settings) -> None:
    for field in ("disk_roots", "repository_roots"):
        if reason := roots.invalid(getattr(settings, field) or ()):
            raise Refusal("invalid", reason, field)


def _create(catalogue: Catalogue, kind: Kind, command: c.Create, actor: str, time: datetime) -> Defined:
    if command.id in catalogue.of(kind):
        field = "context_id" if kind == "vm" else "id"
        raise Refusal("conflict", f"there is a {kind} {command.id!r} already", field)
    assert isinstance(
        command,
        c.CreateVm
        | c.CreateGroup
        | c.CreateSchedule
        | c.CreateRepository
        | c.CreatePolicy
        | c.CreateFlow
        | c.CreateNotification,
    )
    born = _born(command.spec, command.id, actor, time)
    check(catalogue, kind, born, None, time)
    return defined(born)


def _born(spec: Spec, id: str, actor: str, time: datetime) -> Definition:  # noqa: A002
    context: dict[str, Any] = {"id": id, "version": 1, "created_at": time, "updated_at": time, "created_by": actor}
    match spec:
        case VmSpec():
            return Vm(**structs.asdict(spec), **context)
        case GroupSpec():
            return Group(**structs.asdict(spec), **context)
        case ScheduleSpec():
            return Schedule(**structs.asdict(spec), **context, armed_at=time)
        case RepositorySpec():
            return Repository(**structs.asdict(spec), **context)
        case PolicySpec():
            return Policy(**structs.asdict(spec), **context)
        case FlowSpec():
            return Flow(**structs.asdict(spec), **context, armed_at=time)
        case NotificationSpec():
            return Notification(**structs.asdict(spec), **context)


def _current(catalogue: Catalogue, kind: Kind, command: c.Change) -> Definition:
    current = catalogue.of(kind).get(command.id)
    if current is None:
        raise Refusal("not_found", f"there is no {kind} {command.id!r}")
    if command.if_version is not None and command.if_version != current.version:
        raise Refusal("version", f"{kind} {command.id!r} is at version {current.version}, not {command.if_version}")
    return current


def _change(
    catalogue: Catalogue, kind: Kind, command: c.Change, current: Definition, time: datetime
) -> Sequence[Defined]:
    match command:
        case c.Delete():
            return _delete(catalogue, kind, command, current, time)
        case c.EnableFlow(run_missed=True):
            assert isinstance(current, Flow)
            enabled = structs.replace(current, enabled=True)
            if current.enabled:
                return [defined(current)]
            # it keeps the instant since when it is scheduled: so what passed meanwhile is due
            return [defined(structs.replace(enabled, version=current.version + 1, updated_at=time))]
        case c.Enable():
            changed = structs.replace(current, enabled=True)
        case c.Disable():
            changed = structs.replace(current, enabled=False)
        case c.AddMember() | c.AddMembers() | c.UpdateMember() | c.RemoveMember():
            assert isinstance(current, Group)
            changed = _regrouped(current, command)
        case (
            c.UpdateVm()
            | c.UpdateGroup()
            | c.UpdateSchedule()
            | c.UpdateRepository()
            | c.UpdatePolicy()
            | c.UpdateFlow()
            | c.UpdateNotification()
        ):
            changed = structs.replace(current, **_given(command.patch))
        case _:
            raise TypeError(f"{command!r} is not about a definition")
    if changed == current:
        return [defined(current)]  # emitted again, so that the command has its outcome on the log
    check(catalogue, kind, changed, current, time)
    return [defined(_revised(current, changed, time))]


def _given(patch: Patch | SettingsPatch) -> dict[str, object]:
    return {field: value for field, value in structs.asdict(patch).items() if value is not UNSET}


def _revised(current: D, changed: D, time: datetime) -> D:
    """Return the next version. What changes when a flow or schedule fires starts its calendar again, from `time`."""
    revised = structs.replace(changed, version=current.version + 1, updated_at=time)
    match current, changed:
        case (Flow(), Flow()):
            rearmed = current.schedule_id != changed.schedule_id or (changed.enabled and not current.enabled)
        case (Schedule(), Schedule()):
            times = any(getattr(current, field) != getattr(changed, field) for field in CALENDAR_FIELDS)
            rearmed = times or (changed.enabled and not current.enabled)
        case _:
            rearmed = False
    return structs.replace(revised, armed_at=time) if rearmed else revised


def _regrouped(group: Group, command: c.AddMember | c.AddMembers | c.UpdateMember | c.RemoveMember) -> Group:
    members = {member.context_id: member for member in group.members}
    match command:
        case c.AddMember():
            _add(group, members, [command.member])
        case c.AddMembers():
            _add(group, members, command.members)
        case c.UpdateMember():
            member = _member(group, members, command.context_id)
            members[command.context_id] = structs.replace(
                member, enabled=_or(command.enabled, member.enabled), priority=_or(command.priority, member.priority)
            )
        case c.RemoveMember():
            _member(group, members, command.context_id)
            del members[command.context_id]
    return structs.replace(group, members=list(members.values()))


def _add(group: Group, members: dict[str, Member], added: Sequence[Member]) -> None:
    for member in added:
        if member.context_id in members:
            raise Refusal("conflict", f"VM {member.context_id!r} is in group {group.name!r} already", "context_id")
        members[member.context_id] = member


T = TypeVar("T")


def _or(value: T | UnsetType, default: T) -> T:
    return default if isinstance(value, UnsetType) else value


def _member(group: Group, members: dict[str, Member], context_id: str) -> Member:
    if context_id not in members:
        raise Refusal("not_found", f"VM {context_id!r} is not in group {group.name!r}")
    return members[context_id]


def _delete(
    catalogue: Catalogue, kind: Kind, command: c.Delete, current: Definition, time: datetime
) -> Sequence[Defined]:
    users = list(catalogue.users(kind, current.id))
    events: list[Defined] = []
    if command.detach and kind in {"schedule", "policy"}:
        for _, user in users:
            freed = structs.replace(user, **{f"{kind}_id": None})
            events.append(defined(_revised(user, freed, time)))
    elif users:
        shown = ", ".join(f"{kind_} {name_of(user)!r}" for kind_, user in users[:5])
        more = f" and {len(users) - 5} more" if len(users) > 5 else ""
        raise Refusal("in_use", f"{kind} {name_of(current)!r} is in use by {shown}{more}")
    return [*events, tombstone(kind, current.id, current.version + 1)]
