"""What an identity with a scope may change: what belongs to its groups, as long as nobody else's things use it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from msgspec import UNSET
from sqlalchemy import ColumnElement, func, select

from api.identity import Identity
from api.problems import ApiError, invalid, not_found, unknown
from api.readmodel import flows, names
from api.readmodel.reader import Reader
from api.validation import FieldError
from schemas import commands as c
from schemas import tables as t
from schemas.definitions import Kind

FOR_ALL = (
    "this is about the whole engine, and your access is limited to protection groups: ask somebody whose access is not"
)
OF_HOSTS = (
    "which files of the machines are read and written is not for those whose access is limited to protection groups: "
    "ask somebody whose access is not"
)
# by kind of definition: what refers to one
_USERS: Mapping[Kind, Sequence[ColumnElement[Any]]] = {
    "vm": (t.machine_group_members.c.context_id, t.protection_flows.c.target_id),
    "group": (t.protection_flows.c.target_id,),
    "schedule": (t.protection_flows.c.schedule_id, t.machine_groups.c.schedule_id),
    "repository": (t.protection_flows.c.repository_id, t.backup_jobs.c.repository_id),
    "policy": (t.protection_flows.c.policy_id,),
}
# the fields that name files of machines
_FILES = {c.UpdateVm: ("disks",), c.UpdateRepository: ("location", "config")}
_REFERENCES: Mapping[str, Kind] = {"repository_id": "repository", "policy_id": "policy", "schedule_id": "schedule"}


async def unscoped(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let only those in who may see everything: a guard of routes. Raises 403."""
    require_unscoped(connection.scope["user"])


def require_unscoped(identity: Identity) -> None:
    """Raise 403 for an identity with a scope."""
    if identity.groups is not None:
        raise ApiError(403, FOR_ALL)


async def check(reader: Reader, command: c.Command) -> None:
    """Raise 403, 404 or 422 when one with a scope may not have a command. `reader` finds what they may see."""
    match command:
        case c.CreateFlow():
            spec = command.spec
            await _check_references(reader, spec, {"target_id": (spec.target_type, spec.target_id)})
        case c.UpdateFlow():
            await _check_references(reader, command.patch, await _new_target(reader, command))
        case c.EnableFlow() | c.DisableFlow() | c.DeleteFlow() | c.ExecuteFlow():
            await _check_known(reader, "flow", command.id)
        case c.CreateBackfill():
            await _check_known(reader, "flow", command.flow_id)
        case c.CancelBackfill():
            await _check_backfill(reader, command)
        case c.CancelExecution() | c.RetryExecution():
            await _check_execution(reader, command.id)
        case c.BackupVm():
            await _check_known(reader, "vm", command.context_id)
            await _check_references(reader, command)
        case c.AddMember() | c.AddMembers() | c.Create():
            raise ApiError(403, FOR_ALL)
        case c.Change() if (kind := c.definition_kind(command)) in _USERS:
            await _check_known(reader, kind, command.id)
            await _check_not_shared(reader, kind, command.id)
            _check_no_files(command)
            await _check_references(reader, getattr(command, "patch", None))
        case _:
            raise ApiError(403, FOR_ALL)


async def _check_known(reader: Reader, kind: Kind, id_: str) -> None:
    if not await names.existing(reader, kind, [id_]):
        raise not_found(kind, id_)


async def _check_execution(reader: Reader, id_: str) -> None:
    if not await reader.rows(select(t.executions.c.id).where(t.executions.c.id == id_)):
        raise not_found("execution", id_)


async def _check_backfill(reader: Reader, command: c.CancelBackfill) -> None:
    """Raise 404 unless this is a backfill of this flow."""
    e = t.events.c
    began = (e.type == "flow.backfilling", e.key == command.flow_id, e.correlation == command.id)
    if not await reader.rows(select(e.sequence).where(*began).limit(1)):
        raise not_found("backfill", command.id)


async def _new_target(reader: Reader, command: c.UpdateFlow) -> Mapping[str, tuple[Kind, str]]:
    """Return the target that a flow is to have, when that is to change. Raises 404."""
    flow = await flows.definition(reader, command.id)
    if flow is None:
        raise not_found("flow", command.id)
    kind, id_ = command.patch.target_type, command.patch.target_id
    if kind is UNSET and id_ is UNSET:
        return {}
    return {"target_id": (flow.target_type if kind is UNSET else kind, flow.target_id if id_ is UNSET else id_)}


async def _check_references(
    reader: Reader, of: object, more: Mapping[str, tuple[Kind, str]] = MappingProxyType({})
) -> None:
    """Raise 422 that names the fields which refer to what cannot be seen, as to what is not there."""
    said: dict[str, tuple[Kind, Any]] = {field: (kind, getattr(of, field, None)) for field, kind in _REFERENCES.items()}
    said |= more
    wrong = [
        FieldError(field=field, message=unknown(kind, id_))
        for field, (kind, id_) in said.items()
        if isinstance(id_, str) and not await names.existing(reader, kind, [id_])
    ]
    if wrong:
        raise invalid(422, wrong)


async def _check_not_shared(reader: Reader, kind: Kind, id_: str) -> None:
    """Raise 403 when something refers to a definition that cannot be seen."""
    async with reader.snapshot() as moment:
        for column in _USERS[kind]:
            users = select(func.count()).select_from(column.table).where(column == id_)  # type: ignore[attr-defined]
            if await moment.rows(users) != await moment.of_everything().rows(users):
                detail = (
                    f"{kind} {id_!r} is used outside of the protection groups that your access is limited to, too: ask "
                    "somebody whose access is not limited to change it"
                )
                raise ApiError(403, detail)


def _check_no_files(command: c.Change) -> None:
    for field in _FILES.get(type(command), ()):
        if getattr(command.patch, field) is not UNSET:  # type: ignore[attr-defined]
            raise ApiError(403, OF_HOSTS)
