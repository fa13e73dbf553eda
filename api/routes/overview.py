"""The route of the overview: one look in the morning."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from litestar import get

from api import workers
from api.context import Context, RequestContext
from api.readmodel import days, growth, overview, storage
from api.readmodel.attention import SOON, FillingRepository, UnreachableRepository
from api.readmodel.overview import Beside
from api.responses.overview import Overview
from api.routes.health import refusing
from api.routes.parameters import READ, Timezone, zone_of
from bus.errors import LogError
from services.health import DEAD, PREFIX, assess
from services.worker.engines import registration
from services.worker.status import WorkerStatus

MOST = 100  # repositories that are looked at
GROWTH = 30  # days by which it is judged how a repository grows
ILL = (*DEAD, "restarting")


@get("/overview", responses=READ, tags=["Coverage"], opt={"role": "viewer"})
async def get_overview(context: Context, timezone: Timezone = "UTC") -> Overview:
    """Return the state of everything: whether the VMs are safe, what needs attention, last night, and what is next."""
    zone = zone_of(timezone)
    there = await workers.living(context.log)
    beside = Beside(workers=there) if context.scoped else await _of_the_engine(context, zone, there)
    return await overview.find(context.reader, zone, context.now, context.overdue, beside)


async def _of_the_engine(context: RequestContext, zone: ZoneInfo, there: Sequence[WorkerStatus] | None) -> Beside:
    """Return what is about the engine as a whole, and its machines."""
    filling, unreachable = await _repositories(context, zone)
    return Beside(
        workers=there,
        filling=filling,
        unreachable=unreachable,
        tokens=context.identity.may("admin"),
        ill=await _ill(context),
    )


async def _ill(context: RequestContext) -> dict[str, str]:
    """Return the services that do not do their work, and how they are; none while the log does not say."""
    try:
        found = assess(await context.log.statuses(PREFIX), await context.log.time())
    except LogError:
        return {}
    ill = {name: one.text for name, one in found.items() if one.state in ILL}
    if offsets := await refusing(context.log):
        ill["scheduler"] = f"not firing anything: its clock is {max(offsets, key=abs):.0f} s off the log's"
    return ill


async def _repositories(
    context: RequestContext, zone: ZoneInfo
) -> tuple[list[FillingRepository], list[UnreachableRepository]]:
    """Return the repositories that will be full soon, and those that cannot be seen and whose last backup failed."""
    shown = days.days_before(context.now, GROWTH, zone)
    engines = [name for name in registration.ENGINES if registration.on_disk(name)]
    async with context.reader.snapshot() as reader:
        found = await storage.on_disk(reader, engines, MOST)
        growing = await storage.growing(reader, [one.id for one in found], shown, zone) if found else {}
    spaces = await asyncio.gather(*(context.files.space(one.location, context.now) for one in found))
    filling: list[FillingRepository] = []
    unreachable: list[UnreachableRepository] = []
    for one, space in zip(found, spaces, strict=True):
        if space.available is None:
            if (trouble := await storage.trouble(context.reader, one.id)) is not None:
                about = {"repository_id": one.id, "name": one.name}
                unreachable.append(UnreachableRepository(**about, since=trouble.since, error=trouble.error))
            continue
        full = growth.full_on(shown[-1], space.available, growth.slope(growing[one.id]))
        if full is not None and full <= shown[-1] + SOON:
            filling.append(
                FillingRepository(
                    repository_id=one.id, name=one.name, full_on=full.isoformat(), free_bytes=space.available
                )
            )
    return filling, unreachable
