"""Flows as definitions: what all kinds have in common, and their own ways to enable, delete and clone."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from litestar import Response, delete, patch, post
from litestar.params import FromQuery, JSONBody
from msgspec import UNSET, UnsetType, structs

from api import inspecting
from api.context import Context, RequestContext
from api.naming import referring
from api.problems import ApiError, not_found
from api.readmodel import executions, flows, inspections, references
from api.requests import CloneRequest, FlowPatchRequest, FlowRequest
from api.responses.flows import CreatedFlow, FlowResponse
from api.routes.crud import Created, CrudResource, changed, known, required
from api.routes.parameters import WRITE, PathId
from schemas import commands as c
from schemas.base import Value
from schemas.definitions import Flow, FlowSpec, Kind
from services.catalogue import Catalogue
from services.executor import starting as executor
from services.worker.inspection import WorkerSeen

CANCEL_PATIENCE = 15.0  # seconds to wait for the end of what was cancelled
CANCEL_POLL = 0.1  # seconds


async def _read(context: Context, flow_id: str) -> FlowResponse | None:
    return await flows.one(context.reader, flow_id, context.now)


async def _refer(context: Context, data: FlowRequest | FlowPatchRequest, flow_id: str | None) -> Value:
    kinds: dict[str, Kind] = {"repository_id": "repository", "policy_id": "policy", "schedule_id": "schedule"}
    target = data.target_type
    if flow_id is not None and isinstance(target, UnsetType) and not isinstance(data.target_id, UnsetType):
        current = await flows.definition(context.reader, flow_id)
        target = current.target_type if current else UNSET
    if not isinstance(target, UnsetType):
        kinds["target_id"] = target
    return await referring(context, data, kinds)


async def inspect_flow(
    context: RequestContext, catalogue: Catalogue, flow: Flow, preview: executor.Preview, *, everyone: bool = False
) -> list[WorkerSeen] | None:
    """Return what workers see of a flow's repository, and of the disks of those VMs that it would back up.

    None when it has no repository, and for one with a scope: it is about the machines.
    """
    repository = catalogue.repositories.get(flow.repository_id or "")
    if repository is None or context.scoped:
        return None
    planned = [one.context_id for one in preview.planned]
    inspection = await inspections.of(context.reader, repository, planned)
    return await inspecting.inspect(context.log, inspection, everyone=everyone)


async def _created(context: RequestContext, made: FlowResponse) -> CreatedFlow:
    """Return a new flow with what workers see of what it needs."""
    found = await references.of_flow(context.reader, made.id)
    seen = None
    if found is not None:
        catalogue, flow, _ = found
        seen = await inspect_flow(context, catalogue, flow, executor.preview(catalogue, flow))
    return CreatedFlow(**structs.asdict(made), warnings=inspecting.warnings(seen), inspections=seen or [])


FLOW = CrudResource(
    kind="flow",
    path="/protection-flows",
    tag="Protection flows",
    request=FlowRequest,
    patch=FlowPatchRequest,
    response=FlowResponse,
    created=Created(shape=CreatedFlow, of=_created),
    create=c.CreateFlow,
    update=c.UpdateFlow,
    delete=c.DeleteFlow,
    enable=c.EnableFlow,
    disable=c.DisableFlow,
    read=_read,
    refer=_refer,
)


@patch(
    "/{id:str}/enable",
    responses=WRITE,
    operation_id="enable_flow",
    summary="Take a flow into use",
    opt={"role": "operator"},
)
async def enable_flow(
    context: Context,
    id: PathId,  # noqa: A002
    run_missed: FromQuery[bool] = False,
) -> Response[FlowResponse]:
    await required(FLOW, context, id)
    await context.submit(c.EnableFlow(id=id, if_version=context.if_version, run_missed=run_missed))
    return await changed(FLOW, context, id)


@delete("/{id:str}", responses=WRITE, operation_id="delete_flow", summary="Delete a flow", opt={"role": "admin"})
async def delete_flow(context: Context, id: PathId, force: FromQuery[bool] = False) -> None:  # noqa: A002
    if not await context.repeats():
        await known(FLOW, context, id)
        await not_running(context, id, force=force)
    await context.submit(c.DeleteFlow(id=id, if_version=context.if_version))


async def not_running(context: Context, flow_id: str, *, force: bool = False) -> None:
    """Raise 409 while an execution runs. With `force` cancel it first, and wait for its end."""
    deadline = asyncio.get_running_loop().time() + CANCEL_PATIENCE
    cancelled: set[str] = set()
    while True:
        context.check_open()
        running = await executions.running(context.reader, flow_id)
        if not running:
            return
        if not force:
            raise still_running(running[0])
        for execution_id in running:
            if execution_id not in cancelled:
                cancelled.add(execution_id)
                with suppress(ApiError):  # it has ended by itself meanwhile
                    await context.submit(c.CancelExecution(id=execution_id), part=execution_id)
        if asyncio.get_running_loop().time() > deadline:
            raise ApiError(409, f"execution {running[0]!r} was cancelled and has not ended yet: try again soon")
        await asyncio.sleep(CANCEL_POLL)


def still_running(execution_id: str) -> ApiError:
    return ApiError(409, f"execution {execution_id!r} of this flow is running: cancel it, or use ?force=true")


@post("/{flow_id:str}/clone", responses=WRITE, opt={"role": "admin"})
async def clone(context: Context, flow_id: PathId, data: JSONBody[CloneRequest]) -> Response[FlowResponse]:
    """Make another flow like this one, disabled."""
    if isinstance(earlier := await context.earlier(), c.CreateFlow):
        original = earlier.spec
    else:
        found = await flows.definition(context.reader, flow_id)
        if found is None:
            raise not_found("flow", flow_id)
        original = found
    fields = {field: getattr(original, field) for field in FlowSpec.__struct_fields__}
    copy_id = context.new_id("flow")
    spec = FlowSpec(**{**fields, "name": data.name, "enabled": False})
    await context.submit(c.CreateFlow(id=copy_id, spec=spec))
    return await changed(FLOW, context, copy_id, 201)
