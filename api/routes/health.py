"""Health: whether the process is alive, and whether everything it needs is there."""

from __future__ import annotations

from datetime import timedelta

from litestar import Response, get
from litestar.openapi import ResponseSpec
from sqlalchemy.exc import SQLAlchemyError

from api.problems import errors
from api.resources import AppResources, Resources
from bus.errors import LogError
from bus.log import Log
from schemas.base import Value
from services.health import DEAD, PREFIX, Health, assess
from services.heartbeat import VERSION

FRESH = timedelta(seconds=60)  # a scheduler that refuses says so again and again
MOST_LAG = 10_000  # messages that the tables may be behind the log and still be called ready


class Live(Value, frozen=True, kw_only=True):
    status: str = "ok"


class Ready(Value, frozen=True, kw_only=True):
    """`parts`: the state of each, `ok` or what is wrong; `lag`: messages that the tables are behind the log.

    `status`: `ok`; `degraded` when requests are served, and something does not do its work; `not ready`. `services`:
    for each whether it is `running`, `behind`, `restarting`, `hung` or `gone`; empty while the log does not respond.
    `version`: of the engine, as the API that responds has it.
    """

    status: str
    parts: dict[str, str]
    lag: int | None
    services: dict[str, str]
    version: str


async def services(resources: Resources) -> dict[str, Health]:
    """Return how each service is. Raises `LogError`."""
    return assess(await resources.log.statuses(PREFIX), await resources.log.time())


async def refusing(log: Log) -> list[float]:
    """Return how many seconds the clocks of schedulers that fire nothing are off the log's."""
    try:
        statuses = (await log.statuses("clock.")).values()
        now = await log.time()
    except LogError:
        return []
    return [float(one.value["offset_seconds"]) for one in statuses if one.value["refusing"] and now - one.at < FRESH]


@get("/health/live", tags=["Health"], responses=errors(400))
async def live() -> Live:
    """Show that the process runs."""
    return Live()


@get(
    "/health/ready",
    tags=["Health"],
    responses={
        **errors(400),
        503: ResponseSpec(Ready, description="Requests cannot be served", generate_examples=False),
    },
)
async def ready(resources: AppResources) -> Response[Ready]:
    """Say whether requests can be served, how each service is, and what is missing if something is."""
    parts = {"log": "ok", "database": "ok", "recorder": "ok"}
    found: dict[str, Health] = {}
    last: int | None = None
    position: int | None = None
    readable = True
    try:
        last = (await resources.log.identity()).last_sequence
        found = await services(resources)
    except LogError as error:
        parts["log"] = str(error)
    try:
        position = await resources.reader.position()
        standing = await resources.reader.standing()
        readable = standing.state != "older"  # what a newer version has added does not disturb a reader
        parts["database"] = standing.advice or "ok"
    except SQLAlchemyError:
        parts["database"] = "the read model cannot be read: is the recorder running, and is its database the same?"
    if parts["log"] == "ok" and (offsets := await refusing(resources.log)):
        worst = max(offsets, key=abs)
        parts["scheduler"] = f"fires nothing: its clock is {worst:.0f} s off the log's ({len(offsets)} schedulers)"
    parts |= {name: one.text for name, one in found.items() if one.text}
    lag = last - position if last is not None and position is not None else None
    if lag is None:
        parts["recorder"] = "unknown"
    elif lag > MOST_LAG:
        parts["recorder"] = f"{lag} messages behind the log"
    served = readable and lag is not None and lag <= MOST_LAG
    served = served and parts["log"] == "ok" and found["recorder"].state not in DEAD
    body = Ready(
        status=("ok" if all(text == "ok" for text in parts.values()) else "degraded") if served else "not ready",
        parts=parts,
        lag=lag,
        services={name: one.state for name, one in found.items()},
        version=VERSION,
    )
    return Response(body, status_code=200 if served else 503)
