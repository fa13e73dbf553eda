"""Health: whether the process is alive, and whether the parts it needs are there."""

from __future__ import annotations

from litestar import Response, get
from sqlalchemy.exc import SQLAlchemyError

from api.parts import AtParts
from bus.errors import LogError
from schemas.base import Value

MOST_LAG = 10_000  # messages that the tables may be behind the log and still be called ready


class Live(Value, frozen=True, kw_only=True):
    status: str = "ok"


class Ready(Value, frozen=True, kw_only=True):
    """`parts`: each part's state, `ok` or what is wrong; `lag`: messages that the tables are behind the log."""

    status: str
    parts: dict[str, str]
    lag: int | None


@get("/health/live", tags=["Health"])
async def live() -> Live:
    """Answer, if only to show that the process runs."""
    return Live()


@get("/health/ready", tags=["Health"])
async def ready(parts: AtParts) -> Response[Ready]:
    """Say whether requests can be served, and which part is not there if they cannot."""
    states = {"log": "ok", "database": "ok", "recorder": "ok"}
    last: int | None = None
    position: int | None = None
    try:
        last = (await parts.log.identity()).last_sequence
    except LogError as error:
        states["log"] = str(error)
    try:
        position = await parts.reading.position()
    except SQLAlchemyError:
        states["database"] = "the read model cannot be read: is the recorder running, and is its database the same?"
    lag = last - position if last is not None and position is not None else None
    if lag is None:
        states["recorder"] = "unknown"
    elif lag > MOST_LAG:
        states["recorder"] = f"{lag} messages behind the log"
    good = all(state == "ok" for state in states.values())
    body = Ready(status="ok" if good else "not ready", parts=states, lag=lag)
    return Response(body, status_code=200 if good else 503)
