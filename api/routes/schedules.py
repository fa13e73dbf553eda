"""Routes of schedules: when flows run."""

from __future__ import annotations

from datetime import UTC
from itertools import islice
from typing import Annotated
from zoneinfo import ZoneInfo

from litestar import get
from litestar.params import FromQuery, QueryParameter

from api.context import Context
from api.readmodel import definitions
from api.readmodel.calendar import LOOKS
from api.readmodel.definitions import DefinitionFilter
from api.requests import SchedulePatchRequest, ScheduleRequest
from api.responses.calendar import NextRun, SchedulePreview
from api.responses.definitions import ScheduleList
from api.routes.crud import CrudResource, detaching, known, router
from api.routes.parameters import READ, Enabled, Limit, Offset, PathId, Q, Since, Sort, moment, page
from schemas import commands as c
from schemas import tables as t
from schemas.definitions import Schedule
from services.scheduler import calendar


async def _read(context: Context, id_: str) -> Schedule | None:
    return await definitions.one(context.reader, t.schedules, Schedule, id_)


SCHEDULE = CrudResource(
    kind="schedule",
    path="/schedules",
    tag="Schedules",
    request=ScheduleRequest,
    patch=SchedulePatchRequest,
    response=Schedule,
    create=c.CreateSchedule,
    update=c.UpdateSchedule,
    delete=c.DeleteSchedule,
    enable=c.EnableSchedule,
    disable=c.DisableSchedule,
    read=_read,
)


@get("/", responses=READ, opt={"role": "viewer"})
async def list_schedules(
    context: Context, limit: Limit = 50, offset: Offset = 0, enabled: Enabled = None, q: Q = None, sort: Sort = None
) -> ScheduleList:
    """List schedules, newest first."""
    wanted = DefinitionFilter(enabled=enabled, q=q)
    found, total = await definitions.find(context.reader, t.schedules, Schedule, wanted, sort, page(limit, offset))
    return ScheduleList(schedules=found, total=total)


@get("/{schedule_id:str}/preview", responses=READ, opt={"role": "viewer"})
async def preview(
    context: Context,
    schedule_id: PathId,
    count: FromQuery[Annotated[int, QueryParameter(ge=1, le=500)]] = 10,
    since: Since = None,
) -> SchedulePreview:
    """Return when a schedule matches next, by the scheduler's own calendar."""
    schedule: Schedule = await known(SCHEDULE, context, schedule_id)
    start, budget = moment("from", since, bounded=True) or context.now, calendar.Budget(LOOKS)
    found = list(islice(calendar.of(schedule).annotated(start, budget=budget), count))
    zone = ZoneInfo(schedule.timezone) if found else UTC  # one that cannot be read never fires
    runs = [NextRun(at=one.at, local=one.at.astimezone(zone).isoformat(), note=one.note) for one in found]
    return SchedulePreview(next_runs=runs)


ROUTER = router(SCHEDULE, [list_schedules, preview], delete=detaching(SCHEDULE))
