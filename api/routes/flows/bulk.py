"""Many flows at once: each has its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

from litestar import post
from litestar.params import FromQuery, JSONBody, QueryParameter

from api.context import Context
from api.naming import Mention, resolved
from api.problems import ApiError, Pending, not_found
from api.readmodel import executions, flows
from api.requests import BulkRequest
from api.responses.flows import BulkResponse
from api.routes.flows.definition import still_running
from api.routes.parameters import WRITE
from bus.errors import LogError
from schemas import commands as c

BULK_AT_ONCE = 50

Bulk = Callable[[str], c.Command]
DryRunQuery = FromQuery[Annotated[bool, QueryParameter(description="only say what would happen")]]


@post("/bulk-enable", status_code=200, responses=WRITE, opt={"role": "operator"})
async def bulk_enable(context: Context, data: JSONBody[BulkRequest], dry_run: DryRunQuery = False) -> BulkResponse:
    """Enable flows, each with its own outcome."""
    return await _bulk(context, data, lambda id_: c.EnableFlow(id=id_), dry_run=dry_run)


@post("/bulk-disable", status_code=200, responses=WRITE, opt={"role": "operator"})
async def bulk_disable(context: Context, data: JSONBody[BulkRequest], dry_run: DryRunQuery = False) -> BulkResponse:
    """Disable flows, each with its own outcome."""
    return await _bulk(context, data, lambda id_: c.DisableFlow(id=id_), dry_run=dry_run)


@post("/bulk-delete", status_code=200, responses=WRITE, opt={"role": "admin"})
async def bulk_delete(context: Context, data: JSONBody[BulkRequest], dry_run: DryRunQuery = False) -> BulkResponse:
    """Delete flows with their history, each with its own outcome."""
    return await _bulk(context, data, lambda id_: c.DeleteFlow(id=id_), dry_run=dry_run, unless_running=True)


async def _bulk(
    context: Context,
    data: BulkRequest,
    command: Bulk,
    *,
    dry_run: bool,
    unless_running: bool = False,
) -> BulkResponse:
    gate = asyncio.Semaphore(BULK_AT_ONCE)
    mentions = [Mention(field=text, kind="flow", text=text) for text in dict.fromkeys(data.flow_ids)]
    found, unclear = await resolved(context, mentions)
    said = {id_: text for text, id_ in reversed(found.items())}  # by flow: what it is called in the request
    ids = list(reversed(said))
    async with context.reader.snapshot() as reader:
        there = await flows.existing(reader, ids)
        running = await executions.running_by_flow(reader, ids) if unless_running else {}

    async def one(flow_id: str) -> str | None:
        """Return why a flow was not changed, None when it was."""
        async with gate:
            try:
                if not await context.repeats(flow_id):
                    if flow_id not in there:
                        raise not_found("flow", flow_id)
                    if flow_id in running:
                        raise still_running(running[flow_id])
                if not dry_run:
                    await context.submit(command(flow_id), part=flow_id)
            except (ApiError, LogError) as error:
                return str(error)
            except Pending as pending:
                return f"no outcome yet; see /api/v1/commands/{pending.command_id}"
        return None

    reasons = await asyncio.gather(*map(one, ids))
    failed = {said[id_]: reason for id_, reason in zip(ids, reasons, strict=True) if reason is not None}
    successful = len(ids) - len(failed)
    failed |= {one.field: one.message for one in unclear}
    return BulkResponse(successful=successful, failed=len(failed), errors=failed)
