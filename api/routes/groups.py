"""Routes of protection groups and their members."""

from __future__ import annotations

from collections.abc import Sequence

from litestar import delete, get, patch, post
from litestar.params import JSONBody
from msgspec import structs

from api.context import Context
from api.naming import Mention, ids_of, referring
from api.permission import require_unscoped
from api.problems import ApiError, invalid, not_found
from api.readmodel import definitions
from api.readmodel.definitions import DefinitionFilter
from api.requests import AddMembersRequest, GroupPatchRequest, GroupRequest, MemberPatchRequest
from api.responses.definitions import GroupList, GroupResponse, MemberList, MemberResponse
from api.routes.crud import CrudResource, known, required, router
from api.routes.parameters import READ, WRITE, Enabled, Limit, Offset, PathId, Q, Sort, page
from api.validation import FieldError
from schemas import commands as c
from schemas.base import Value
from schemas.definitions import Member


async def _read(context: Context, group_id: str) -> GroupResponse | None:
    return await definitions.group(context.reader, group_id)


async def _refer(context: Context, data: GroupRequest | GroupPatchRequest, _: str | None) -> Value:
    data = await referring(context, data, {"schedule_id": "schedule"})
    if isinstance(data, GroupPatchRequest):
        return data
    ids = await _vms(context, "members[{}].context_id", [member.context_id for member in data.members])
    members = [structs.replace(member, context_id=id_) for member, id_ in zip(data.members, ids, strict=True)]
    return structs.replace(data, members=members)


async def _vms(context: Context, field: str, said: Sequence[str]) -> list[str]:
    """Return the ids of VMs that are mentioned in a list. Raises 422."""
    mentions = [Mention(field=field.format(number), kind="vm", text=text) for number, text in enumerate(said)]
    found = await ids_of(context, mentions)
    return [found[mention.field] for mention in mentions]


GROUP = CrudResource(
    kind="group",
    path="/machine-groups",
    tag="Protection groups",
    request=GroupRequest,
    patch=GroupPatchRequest,
    response=GroupResponse,
    create=c.CreateGroup,
    update=c.UpdateGroup,
    delete=c.DeleteGroup,
    enable=c.EnableGroup,
    disable=c.DisableGroup,
    read=_read,
    refer=_refer,
)


@get("/", responses=READ, opt={"role": "viewer"})
async def list_groups(
    context: Context, limit: Limit = 50, offset: Offset = 0, enabled: Enabled = None, q: Q = None, sort: Sort = None
) -> GroupList:
    """List groups with counts of their VMs, newest first."""
    return await definitions.groups(context.reader, DefinitionFilter(enabled=enabled, q=q), sort, page(limit, offset))


@get("/{group_id:str}/vms", responses=READ, opt={"role": "viewer"})
async def list_members(context: Context, group_id: PathId, limit: Limit = 50, offset: Offset = 0) -> MemberList:
    """List a group's members, in its order."""
    found = await definitions.members(context.reader, group_id, page(limit, offset))
    if found is None:
        raise not_found("group", group_id)
    return found


@post("/{group_id:str}/vms", responses=WRITE, opt={"role": "admin"})
async def add_member(
    context: Context, group_id: PathId, data: JSONBody[AddMembersRequest]
) -> MemberResponse | MemberList:
    """Put a VM into a group, or with `vm_context_ids` several: all of them, or none. They come back as a list."""
    await required(GROUP, context, group_id)
    require_unscoped(context.identity)  # else one's scope would be as wide as one likes
    match data:
        case AddMembersRequest(context_id=None, vm_context_id=None, vm_context_ids=list(ids)):
            ids = await _vms(context, "vm_context_ids[{}]", ids)
            members = [Member(context_id=id_, enabled=data.enabled, priority=data.priority) for id_ in ids]
            await context.submit(c.AddMembers(id=group_id, members=members, if_version=context.if_version))
            return await definitions.members_of(context.reader, group_id, ids)
        case AddMembersRequest(context_id=str(said), vm_context_id=None, vm_context_ids=None):
            (id_,) = await _vms(context, "context_id", [said])
        case AddMembersRequest(context_id=None, vm_context_id=str(said), vm_context_ids=None):
            (id_,) = await _vms(context, "vm_context_id", [said])
        case _:
            message = "exactly one of context_id, vm_context_id and vm_context_ids is required"
            raise invalid(422, [FieldError(field="context_id", message=message)])
    member = Member(context_id=id_, enabled=data.enabled, priority=data.priority)
    await context.submit(c.AddMember(id=group_id, member=member, if_version=context.if_version))
    return await _member(context, group_id, id_)


@patch("/{group_id:str}/vms/{context_id:str}", responses=WRITE, opt={"role": "admin"})
async def update_member(
    context: Context, group_id: PathId, context_id: PathId, data: JSONBody[MemberPatchRequest]
) -> MemberResponse:
    """Change a VM's place in a group."""
    if not await context.repeats():
        await _member(context, group_id, context_id)
    change = c.UpdateMember(
        id=group_id, context_id=context_id, enabled=data.enabled, priority=data.priority, if_version=context.if_version
    )
    await context.submit(change)
    return await _member(context, group_id, context_id)


@delete("/{group_id:str}/vms/{context_id:str}", responses=WRITE, opt={"role": "admin"})
async def remove_member(context: Context, group_id: PathId, context_id: PathId) -> None:
    """Take a VM out of a group."""
    if not await context.repeats():
        await _member(context, group_id, context_id)
    await context.submit(c.RemoveMember(id=group_id, context_id=context_id, if_version=context.if_version))


async def _member(context: Context, group_id: str, context_id: str) -> MemberResponse:
    await known(GROUP, context, group_id)
    found = await definitions.member(context.reader, group_id, context_id)
    if found is None:
        raise ApiError(404, f"VM {context_id!r} is not in group {group_id!r}")
    return found


ROUTER = router(GROUP, [list_groups, list_members, add_member, update_member, remove_member])
