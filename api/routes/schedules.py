"""Routes of schedules: when flows run."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Annotated
from zoneinfo import ZoneInfo

from litestar import get, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from api.context import Context
from api.problems import invalid
from api.readmodel import definitions
from api.readmodel.calendar import LOOKS
from api.readmodel.definitions import DefinitionFilter
from api.requests import SchedulePatchRequest, ScheduleRequest
from api.responses.calendar import NextRun, SchedulePreview
from api.responses.definitions import ScheduleList
from api.routes.crud import CrudResource, detaching, known, router
from api.routes.parameters import READ, WRITE, Enabled, Limit, Offset, PathId, Q, Since, Sort, moment, page
from api.validation import FieldError
from schemas import commands as c
from schemas import tables as t
from schemas.definitions import Schedule, ScheduleSpec
from services.scheduler import calendar, validation

Count = FromQuery[Annotated[int, QueryParameter(ge=1, le=500)]]


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
    count: Count = 10,
    since: Since = None,
) -> SchedulePreview:
    """Return when a schedule matches next, by the scheduler's own calendar."""
    schedule: Schedule = await known(SCHEDULE, context, schedule_id)
    return _preview(schedule, moment("from", since, bounded=True) or context.now, count)


@post("/preview", status_code=200, responses=WRITE, opt={"role": "viewer"})
async def preview_unsaved(context: Context, data: JSONBody[ScheduleRequest], count: Count = 10) -> SchedulePreview:
    """Return when a schedule that is not saved would match next. It appends nothing."""
    if wrong := list(validation.validate(data)):
        raise invalid(422, [FieldError(field=one.field, message=one.reason) for one in wrong])
    return _preview(data, context.now, count)


def _preview(schedule: ScheduleSpec, start: datetime, count: int) -> SchedulePreview:
    found = list(islice(calendar.of(schedule).annotated(start, budget=calendar.Budget(LOOKS)), count))
    zone = ZoneInfo(schedule.timezone) if found else UTC  # one that cannot be read never fires
    runs = [NextRun(at=one.at, local=one.at.astimezone(zone).isoformat(), note=one.note) for one in found]
    return SchedulePreview(next_runs=runs)


ROUTER = router(SCHEDULE, [list_schedules, preview, preview_unsaved], delete=detaching(SCHEDULE))
