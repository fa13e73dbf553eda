"""Health: whether the process is alive, and whether everything it needs is there."""

from __future__ import annotations

from datetime import timedelta

from litestar import Response, get
from sqlalchemy.exc import SQLAlchemyError

from api.resources import AppResources
from bus.errors import LogError
from schemas.base import Value

FRESH = timedelta(seconds=60)  # a scheduler that refuses says so again and again
MOST_LAG = 10_000  # messages that the tables may be behind the log and still be called ready


class Live(Value, frozen=True, kw_only=True):
    status: str = "ok"


class Ready(Value, frozen=True, kw_only=True):
    """`parts`: the state of each, `ok` or what is wrong; `lag`: messages that the tables are behind the log.

    `status`: `ok`; `degraded` when requests are served, and something does not do its work; `not ready`.
    """

    status: str
    parts: dict[str, str]
    lag: int | None


async def refusing(resources: AppResources) -> list[float]:
    """Return how many seconds the clocks of schedulers that fire nothing are off the log's."""
    try:
        statuses = (await resources.log.statuses("clock.")).values()
        now = await resources.log.time()
    except LogError:
        return []
    return [float(one.value["offset_seconds"]) for one in statuses if one.value["refusing"] and now - one.at < FRESH]


@get("/health/live", tags=["Health"])
async def live() -> Live:
    """Show that the process runs."""
    return Live()


@get("/health/ready", tags=["Health"])
async def ready(resources: AppResources) -> Response[Ready]:
    """Say whether requests can be served, and what is missing if they cannot."""
    states = {"log": "ok", "database": "ok", "recorder": "ok"}
    last: int | None = None
    position: int | None = None
    try:
        last = (await resources.log.identity()).last_sequence
    except LogError as error:
        states["log"] = str(error)
    try:
        position = await resources.reader.position()
    except SQLAlchemyError:
        states["database"] = "the read model cannot be read: is the recorder running, and is its database the same?"
    lag = last - position if last is not None and position is not None else None
    if lag is None:
        states["recorder"] = "unknown"
    elif lag > MOST_LAG:
        states["recorder"] = f"{lag} messages behind the log"
    good = all(state == "ok" for state in states.values())
    if states["log"] == "ok" and (offsets := await refusing(resources)):
        worst = max(offsets, key=abs)
        states["scheduler"] = f"fires nothing: its clock is {worst:.0f} s off the log's ({len(offsets)} schedulers)"
    status = "degraded" if good and "scheduler" in states else "ok" if good else "not ready"
    body = Ready(status=status, parts=states, lag=lag)
    return Response(body, status_code=200 if good else 503)
