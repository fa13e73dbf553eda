"""The route of workers: which are there, and how they are."""

from __future__ import annotations

from litestar import get

from api.context import Context
from api.permission import unscoped
from api.responses.workers import WorkerList
from api.routes.parameters import READ
from api.workers import present
from services import health
from services.worker import status


@get("/workers", responses=READ, guards=[unscoped], opt={"role": "viewer"}, tags=["Workers"])
async def list_workers(context: Context) -> WorkerList:
    """List the workers that are there, by name: their labels, engines and slots, and how each one is."""
    log = context.log
    statuses, heartbeats = await log.statuses(status.PREFIX), await log.statuses(health.key_of("worker"))
    return WorkerList(workers=present(statuses, heartbeats, await log.time()))
