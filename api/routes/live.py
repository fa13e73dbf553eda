"""Live events: Server-Sent Events of the log, from now or from where a client left off, without gap or duplicate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from litestar import get
from litestar.params import FromHeader, FromQuery, HeaderParameter, QueryParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

from api.desk import AtDesk
from api.parts import AtParts
from api.problems import ApiError
from api.routes.parameters import READ
from bus.envelope import Stored
from bus.log import Batch, Log
from bus.tasks import ended
from schemas.base import ID_PATTERN, Value

PING = 15.0  # seconds between comments on a quiet stream, so that proxies keep it open


class EventFilter(Value, frozen=True, kw_only=True):
    """Which messages; `type` is an event type such as `flow.completed`, or a family such as `flow`."""

    flow_id: str | None
    execution_id: str | None
    type: str | None

    def takes(self, entry: Stored) -> bool:
        sent = entry.envelope
        if self.flow_id is not None and self.flow_id not in {sent.subject, entry.subject.rpartition(".")[2]}:
            return False
        if self.execution_id is not None and sent.correlationid != self.execution_id:
            return False
        return self.type is None or sent.type == self.type or sent.type.startswith(f"{self.type}.")


Wanted = FromQuery[Annotated[str | None, QueryParameter(max_length=64, pattern=ID_PATTERN)]]
EventType = FromQuery[Annotated[str | None, QueryParameter(max_length=64, pattern=r"^[a-z_]+(\.[a-z_]+)*$")]]
LastEventId = FromHeader[Annotated[str | None, HeaderParameter(name="Last-Event-ID", max_length=20)]]


@get("/events", responses=READ, tags=["Live"])
async def live_events(
    desk: AtDesk,
    parts: AtParts,
    flow_id: Wanted = None,
    execution_id: Wanted = None,
    type: EventType = None,  # noqa: A002  the contract's name
    last_event_id: LastEventId = None,
) -> ServerSentEvent:
    """Stream the log: `id` is the sequence, `event` the type, `data` the CloudEvent.

    With `Last-Event-ID` it begins right after that message, else with what comes from now on.
    """
    del desk
    if last_event_id is not None and not last_event_id.isdecimal():
        raise ApiError(400, f"Last-Event-ID is {last_event_id!r}; it is a sequence number of this stream")
    last = (await parts.log.identity()).last_sequence
    after = int(last_event_id) if last_event_id is not None else last
    if after > last:
        raise ApiError(400, f"Last-Event-ID is {after}, but the log ends at {last}: it is not of this log")
    wanted = EventFilter(flow_id=flow_id, execution_id=execution_id, type=type)
    return ServerSentEvent(_stream(parts.log, after, wanted))


async def _stream(log: Log, after: int, wanted: EventFilter) -> AsyncIterator[ServerSentEventMessage]:
    """Yield messages as they come, and a comment when none has for a while.

    A client that reads slowly holds up only its own consumer, which keeps its place in the log.
    """
    batches: asyncio.Queue[Batch] = asyncio.Queue(maxsize=2)

    async def follow() -> None:
        async for batch in log.follow([">"], after=after):
            await batches.put(batch)

    follower = asyncio.create_task(follow())
    try:
        yield ServerSentEventMessage(comment="connected", data=None)
        while True:
            try:
                batch = await asyncio.wait_for(batches.get(), PING)
            except TimeoutError:
                if follower.done():
                    return  # the log is gone: the client comes again, with its last id
                yield ServerSentEventMessage(comment="ping", data=None)
                continue
            for entry in batch.entries:
                if isinstance(entry, Stored) and wanted.takes(entry):
                    yield ServerSentEventMessage(id=entry.sequence, event=entry.envelope.type, data=entry.body.decode())
    finally:
        await asyncio.shield(ended(follower))  # what is awaited here is cancelled with the request
