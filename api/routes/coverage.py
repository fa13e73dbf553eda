"""Routes of coverage: which VMs are protected, now and day by day."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import Router, get
from litestar.params import FromQuery, QueryParameter

from api.context import Context
from api.readmodel import coverage, days
from api.readmodel.coverage import CoverageFilter
from api.responses.coverage import Coverage, CoverageDays, CoverageState
from api.routes.parameters import READ, Days, Label, Offset, Q, Timezone, page, zone_of

CoverageColumn = Literal["state", "-state", "vm_name", "-vm_name", "last_good_at", "-last_good_at"]
CoverageSort = FromQuery[
    Annotated[CoverageColumn | None, QueryParameter(description="a column; `-` before it: descending")]
]
Many = FromQuery[Annotated[int, QueryParameter(ge=1, le=1_000, description="how many at most")]]
By = FromQuery[
    Annotated[
        str | None,
        QueryParameter(max_length=63, pattern="^[A-Za-z0-9_./-]{1,63}$", description="the key of a label to show"),
    ]
]


InState = FromQuery[Annotated[CoverageState | None, QueryParameter(name="state", description="VMs in this state")]]


@get("/", responses=READ, opt={"role": "viewer"})
async def get_coverage(
    context: Context,
    limit: Many = 100,
    offset: Offset = 0,
    in_state: InState = None,
    q: Q = None,
    context_id: FromQuery[str | None] = None,
    flow_id: FromQuery[str | None] = None,
    group_id: FromQuery[str | None] = None,
    label: Label = None,
    sort: CoverageSort = None,
) -> Coverage:
    """List VMs with whether they are protected, those that need attention first."""
    wanted = CoverageFilter(state=in_state, q=q, context_id=context_id, flow_id=flow_id, group_id=group_id, label=label)
    return await coverage.find(context.reader, wanted, sort, page(limit, offset), context.now)


@get("/days", responses=READ, opt={"role": "viewer"})
async def coverage_days(
    context: Context,
    number: Days = 90,
    timezone: Timezone = "UTC",
    by: By = None,
    limit: Many = 1_000,
    offset: Offset = 0,
    in_state: InState = None,
    q: Q = None,
    context_id: FromQuery[str | None] = None,
    flow_id: FromQuery[str | None] = None,
    group_id: FromQuery[str | None] = None,
    label: Label = None,
) -> CoverageDays:
    """Show VMs by days: a letter for what became of the backups of a VM that began on a day.

    The backups of a cell are listed at `/backups`, with `context_id`, `from` and `to`.
    """
    zone = zone_of(timezone)
    wanted = CoverageFilter(state=in_state, q=q, context_id=context_id, flow_id=flow_id, group_id=group_id, label=label)
    shown = days.days_before(context.now, number, zone)
    return await days.find(context.reader, wanted, shown, zone, by, page(limit, offset), context.now)


ROUTER = Router(path="/coverage", route_handlers=[get_coverage, coverage_days], tags=["Coverage"])
