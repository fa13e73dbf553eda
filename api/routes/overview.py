"""The route of the overview: one look in the morning."""

from __future__ import annotations

from litestar import get

from api.context import Context
from api.readmodel import overview
from api.readmodel.overview import Beside
from api.responses.overview import Overview
from api.routes.parameters import READ, Timezone, zone_of


@get("/overview", responses=READ, tags=["Coverage"], opt={"role": "viewer"})
async def get_overview(context: Context, timezone: Timezone = "UTC") -> Overview:
    """Return the state of everything: whether the VMs are safe, what needs attention, last night, and what is next."""
    zone = zone_of(timezone)
    beside = Beside(tokens=context.identity.may("admin") and not context.scoped)
    return await overview.find(context.reader, zone, context.now, context.overdue, beside)
