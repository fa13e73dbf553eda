"""Dry runs: what running a flow would do, of one that is there or of one that somebody is about to save."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from litestar import post
from litestar.params import JSONBody
from msgspec import structs

from api import inspecting, workers
from api.context import Context, RequestContext
from api.problems import not_found
from api.readmodel import flows, references
from api.requests import FlowRequest
from api.responses.flows import DryRun, ExcludedByName, ResolvedVm
from api.routes.flows.definition import FLOW, inspect_flow
from api.routes.flows.views import NEXT_RUNS
from api.routes.parameters import READ, WRITE, PathId
from schemas.definitions import Flow
from services.catalogue import Catalogue
from services.executor import starting as executor
from services.worker.inspection import MOST

Following = tuple[Sequence[datetime], str | None]  # when it runs next, or why nothing runs it by itself


@post("/{flow_id:str}/test", status_code=200, responses=READ, opt={"role": "viewer"})
async def dry_run(context: Context, flow_id: PathId) -> DryRun:
    """Say what running a flow now would do, by the executor's own decisions; workers look at its repository and disks.

    Nothing is appended.
    """
    async with context.reader.snapshot() as reader:
        found = await references.of_flow(reader, flow_id)
        next_runs = await flows.next_runs(reader, flow_id, context.now, NEXT_RUNS)
        flow_now = await flows.one(reader, flow_id, context.now)
    if found is None or flow_now is None:
        raise not_found("flow", flow_id)
    known_now, flow, diskless = found
    return await _verdict(context, known_now, flow, diskless, (next_runs, flow_now.status.next_execution_reason))


@post("/test", status_code=200, responses=WRITE, opt={"role": "viewer"})
async def dry_run_unsaved(context: Context, data: JSONBody[FlowRequest]) -> DryRun:
    """Say what a flow would do that is not saved, as a dry run of a saved one does. Nothing is appended."""
    assert FLOW.refer is not None
    spec: FlowRequest = await FLOW.refer(context, data, None)
    born = {"version": 1, "created_at": context.now, "updated_at": context.now, "armed_at": context.now}
    flow = Flow(**structs.asdict(spec), **born, id="unsaved", created_by=context.actor)
    async with context.reader.snapshot() as reader:
        known_now, diskless = await references.of_definition(reader, flow)
        following = await flows.following(reader, flow, context.now, NEXT_RUNS)
    return await _verdict(context, known_now, flow, diskless, following)


async def _verdict(
    context: RequestContext, known_now: Catalogue, flow: Flow, diskless: set[str], following: Following
) -> DryRun:
    next_runs, why_not = following
    preview = executor.preview(known_now, flow)
    seen = await inspect_flow(context, known_now, flow, preview, everyone=True)
    without_disks = [one.vm_name for one in preview.planned if one.context_id in diskless]
    warnings = [f"VM {name!r} has no disks: its backup will fail" for name in without_disks]
    if not preview.planned:
        warnings.append("there is nothing to back up: the execution would end as a warning at once")
    if seen and len(preview.planned) > MOST:
        warnings.append(f"of {len(preview.planned):,} VMs, the disks of the first {MOST:,} were looked at")
    if not next_runs:
        warnings.append(f"nothing runs this flow by itself: {why_not}")
    warnings += workers.lacking(known_now, flow, preview, await workers.living(context.log))
    errors = [one for one in (preview.refusal, inspecting.unusable(seen)) if one is not None]
    return DryRun(
        valid=not errors,
        errors=errors,
        warnings=[*warnings, *inspecting.warnings(seen)],
        resolved_vms=[ResolvedVm(context_id=one.context_id, vm_name=one.vm_name) for one in preview.planned],
        excluded=[
            ExcludedByName(
                context_id=one.context_id,
                reason=one.reason,
                vm_name=vm.vm_name if (vm := known_now.vms.get(one.context_id)) else None,
            )
            for one in preview.excluded
        ],
        next_runs=[*next_runs],
        inspections=seen or [],
    )
