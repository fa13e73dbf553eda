"""Routes of schedules: when flows run."""

from __future__ import annotations

from litestar import get

from api.answers import ScheduleList
from api.desk import AtDesk
from api.inputs import ScheduleInput, SchedulePatchInput
from api.readmodel import definitions
from api.readmodel.definitions import SORTS, DefinitionFilter
from api.readmodel.reading import Reading
from api.routes.crud import Resource, router
from api.routes.parameters import READ, Enabled, Limit, Offset, Q, Sort, bad_sort, page
from schemas import commands as c
from schemas import tables as t
from schemas.definitions import Schedule


async def _read(reading: Reading, id_: str) -> Schedule | None:
    return await definitions.one(reading, t.schedules, Schedule, id_)


SCHEDULE = Resource(
    kind="schedule",
    path="/schedules",
    tag="Schedules",
    input=ScheduleInput,
    patch=SchedulePatchInput,
    answer=Schedule,
    create=c.CreateSchedule,
    update=c.UpdateSchedule,
    delete=c.DeleteSchedule,
    enable=c.EnableSchedule,
    disable=c.DisableSchedule,
    read=_read,
    detachable=True,
)


@get("/", responses=READ)
async def list_schedules(
    desk: AtDesk, limit: Limit = 50, offset: Offset = 0, enabled: Enabled = None, q: Q = None, sort: Sort = None
) -> ScheduleList:
    """List schedules, newest first."""
    wanted = DefinitionFilter(enabled=enabled, q=q)
    try:
        found, total = await definitions.find(desk.reading, t.schedules, Schedule, wanted, sort, page(limit, offset))
    except KeyError:
        raise bad_sort(sort, SORTS) from None
    return ScheduleList(schedules=found, total=total)


ROUTER = router(SCHEDULE, [list_schedules])
