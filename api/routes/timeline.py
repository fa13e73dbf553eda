"""The route of the timeline: flows side by side."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from litestar import get
from litestar.params import FromQuery, QueryParameter

from api.context import Context
from api.readmodel import timeline
from api.readmodel.timeline import TimelineFilter
from api.responses.timeline import Timeline
from api.routes.calendar import period
from api.routes.parameters import READ, Label, Offset, Q, Since, Until, page

USUAL = timedelta(days=1)  # before now, and after
Flows = FromQuery[Annotated[int, QueryParameter(ge=1, le=200, description="how many flows at most")]]


@get("/timeline", responses=READ, tags=["Protection flows"], opt={"role": "viewer"})
async def get_timeline(
    context: Context,
    since: Since = None,
    until: Until = None,
    limit: Flows = 50,
    offset: Offset = 0,
    label: Label = None,
    repository_id: FromQuery[str | None] = None,
    q: Q = None,
) -> Timeline:
    """Return flows by name, each with its executions in a range, and the occurrences to come in it.

    Without a range: from a day ago, for two.
    """
    start, end = period(context, since or (context.now - USUAL).isoformat(), until, 2 * USUAL)
    wanted = TimelineFilter(label=label, repository_id=repository_id, q=q)
    return await timeline.find(context.reader, wanted, start, end, page(limit, offset), context.now)
