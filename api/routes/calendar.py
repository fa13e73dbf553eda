"""Routes of time: the calendar over all flows, and the freeze."""

from __future__ import annotations

from datetime import datetime, timedelta

from litestar import delete, get, put
from litestar.params import JSONBody

from api.answers import CalendarAnswer, FreezeAnswer
from api.desk import AtDesk, Desk
from api.inputs import FreezeInput
from api.problems import ApiError, FieldError
from api.readmodel import calendar
from api.routes.parameters import READ, WRITE, Since, Until, moment
from bus.clock import now
from schemas import commands as c
from schemas.ids import ENGINE

LONGEST = timedelta(days=366)
USUAL = timedelta(days=7)


def period(desk: Desk, since: str | None, until: str | None, usual: timedelta) -> tuple[datetime, datetime]:
    """Return the range that a request asks about: from now, and for as long as is usual, by default. Raises 422."""
    start = moment("from", since) or desk.now
    try:
        end = moment("to", until) or start + usual
        too_long = end - start > LONGEST
    except OverflowError:
        raise ApiError(422, f"{start.isoformat()} is out of the calendar's reach") from None
    if end < start or too_long:
        message = f"the range must end after it begins, and be {LONGEST.days} days long at most"
        raise ApiError(422, message, errors=[FieldError(field="to", message=message)])
    return start, end


@get("/calendar", responses=READ, tags=["Schedules"])
async def over_all_flows(desk: AtDesk, since: Since = None, until: Until = None) -> CalendarAnswer:
    """Return what will run, and when, over all flows, with how long it is expected to take."""
    start, end = period(desk, since, until, USUAL)
    return await calendar.over_all(desk.reading, start, end, desk.now)


@get("/freeze", responses=READ, tags=["Schedules"])
async def get_freeze(desk: AtDesk) -> FreezeAnswer:
    """Return the freeze. 404 when there is none."""
    return await _freeze(desk)


@put("/freeze", responses=WRITE, tags=["Schedules"])
async def set_freeze(desk: AtDesk, data: JSONBody[FreezeInput]) -> FreezeAnswer:
    """Let nothing start by its schedule until then; what runs goes on. It ends by itself."""
    data = await desk.strict(data)
    await desk.submit(c.SetFreeze(id=ENGINE, until=data.until, reason=data.reason))
    return await _freeze(desk)


@delete("/freeze", responses=WRITE, tags=["Schedules"])
async def lift_freeze(desk: AtDesk) -> None:
    """End the freeze now."""
    await desk.submit(c.LiftFreeze(id=ENGINE))


async def _freeze(desk: Desk) -> FreezeAnswer:
    found = await calendar.freeze(desk.reading)
    if found is None or found.until <= now():
        raise ApiError(404, "there is no freeze")
    return FreezeAnswer(since=found.since, until=found.until, reason=found.reason, created_by=found.created_by)
