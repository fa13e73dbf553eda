"""Routes of protection groups and their members."""

from __future__ import annotations

from litestar import delete, get, patch, post
from litestar.params import JSONBody

from api.answers import GroupAnswer, GroupList, MemberAnswer, MemberList
from api.desk import AtDesk
from api.inputs import GroupInput, GroupPatchInput, MemberInput, MemberPatch
from api.problems import ApiError, not_found
from api.readmodel import definitions
from api.readmodel.definitions import DefinitionFilter
from api.routes.crud import Resource, known, required, router
from api.routes.parameters import READ, WRITE, Enabled, Limit, Offset, PathId, Q, Sort, page
from schemas import commands as c

GROUP = Resource(
    kind="group",
    path="/machine-groups",
    tag="Protection groups",
    input=GroupInput,
    patch=GroupPatchInput,
    answer=GroupAnswer,
    create=c.CreateGroup,
    update=c.UpdateGroup,
    delete=c.DeleteGroup,
    enable=c.EnableGroup,
    disable=c.DisableGroup,
    read=definitions.group,
)


@get("/", responses=READ)
async def list_groups(
    desk: AtDesk, limit: Limit = 50, offset: Offset = 0, enabled: Enabled = None, q: Q = None, sort: Sort = None
) -> GroupList:
    """List groups with counts of their VMs, newest first."""
    return await definitions.groups(desk.reading, DefinitionFilter(enabled=enabled, q=q), sort, page(limit, offset))


@get("/{group_id:str}/vms", responses=READ)
async def list_members(desk: AtDesk, group_id: PathId, limit: Limit = 50, offset: Offset = 0) -> MemberList:
    """List a group's members, in its order."""
    found = await definitions.members(desk.reading, group_id, page(limit, offset))
    if found is None:
        raise not_found("group", group_id)
    return found


@post("/{group_id:str}/vms", responses=WRITE)
async def add_member(desk: AtDesk, group_id: PathId, data: JSONBody[MemberInput]) -> MemberAnswer:
    """Put a VM into a group."""
    await required(GROUP, desk, group_id)
    data = await desk.strict(data)
    await desk.submit(c.AddMember(id=group_id, member=data, if_version=desk.if_version))
    return await _member(desk, group_id, data.context_id)


@patch("/{group_id:str}/vms/{context_id:str}", responses=WRITE)
async def update_member(
    desk: AtDesk, group_id: PathId, context_id: PathId, data: JSONBody[MemberPatch]
) -> MemberAnswer:
    """Change a VM's place in a group."""
    if not await desk.repeats():
        await _member(desk, group_id, context_id)
    data = await desk.strict(data)
    change = c.UpdateMember(
        id=group_id, context_id=context_id, enabled=data.enabled, priority=data.priority, if_version=desk.if_version
    )
    await desk.submit(change)
    return await _member(desk, group_id, context_id)


@delete("/{group_id:str}/vms/{context_id:str}", responses=WRITE)
async def remove_member(desk: AtDesk, group_id: PathId, context_id: PathId) -> None:
    """Take a VM out of a group."""
    if not await desk.repeats():
        await _member(desk, group_id, context_id)
    await desk.submit(c.RemoveMember(id=group_id, context_id=context_id, if_version=desk.if_version))


async def _member(desk: AtDesk, group_id: str, context_id: str) -> MemberAnswer:
    await known(GROUP, desk, group_id)
    found = await definitions.member(desk.reading, group_id, context_id)
    if found is None:
        raise ApiError(404, f"VM {context_id!r} is not in group {group_id!r}")
    return found


ROUTER = router(GROUP, [list_groups, list_members, add_member, update_member, remove_member])
