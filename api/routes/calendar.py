"""Routes of time: the calendar over all flows, and the freeze."""

from __future__ import annotations

from datetime import datetime, timedelta

from litestar import delete, get, put
from litestar.params import JSONBody

from api.context import Context, RequestContext
from api.permission import unscoped
from api.problems import ApiError
from api.readmodel import calendar
from api.requests import FreezeRequest
from api.responses.calendar import CalendarResponse, FreezeResponse
from api.routes.parameters import READ, WRITE, Since, Until, moment
from api.validation import FieldError
from bus.clock import now
from schemas import commands as c
from schemas.ids import ENGINE

LONGEST = timedelta(days=366)
USUAL = timedelta(days=7)


def period(
    context: RequestContext, since: str | None, until: str | None, usual: timedelta
) -> tuple[datetime, datetime]:
    """Return the range that a request asks about: from now, and for as long as is usual, by default. Raises 422."""
    start = moment("from", since, bounded=True) or context.now
    end = moment("to", until, bounded=True) or start + usual
    if end < start or end - start > LONGEST:
        message = f"the range must end after it begins, and be {LONGEST.days} days long at most"
        raise ApiError(422, message, errors=[FieldError(field="to", message=message)])
    return start, end


@get("/calendar", responses=READ, tags=["Schedules"], opt={"role": "viewer"})
async def over_all_flows(context: Context, since: Since = None, until: Until = None) -> CalendarResponse:
    """Return what will run, and when, over all flows, with how long it is expected to take."""
    start, end = period(context, since, until, USUAL)
    return await calendar.over_all(context.reader, start, end, context.now)


@get("/freeze", responses=READ, tags=["Schedules"], opt={"role": "viewer"})
async def get_freeze(context: Context) -> FreezeResponse:
    """Return the freeze. 404 when there is none."""
    return await _freeze(context)


@put("/freeze", responses=WRITE, tags=["Schedules"], opt={"role": "operator"}, guards=[unscoped])
async def set_freeze(context: Context, data: JSONBody[FreezeRequest]) -> FreezeResponse:
    """Let nothing start by its schedule until then; what runs goes on. It ends by itself."""
    await context.submit(c.SetFreeze(id=ENGINE, until=data.until, reason=data.reason))
    return await _freeze(context)


@delete("/freeze", responses=WRITE, tags=["Schedules"], opt={"role": "operator"}, guards=[unscoped])
async def lift_freeze(context: Context) -> None:
    """End the freeze now."""
    await context.submit(c.LiftFreeze(id=ENGINE))


async def _freeze(context: RequestContext) -> FreezeResponse:
    found = await calendar.freeze(context.reader)
    if found is None or found.until <= now():
        raise ApiError(404, "there is no freeze")
    return FreezeResponse(since=found.since, until=found.until, reason=found.reason, created_by=found.created_by)
