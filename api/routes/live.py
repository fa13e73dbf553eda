"""Live events: Server-Sent Events of the log, from now or from where a client left off, without gap or duplicate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from secrets import token_urlsafe
from typing import Annotated

from litestar import get, post
from litestar.datastructures import State
from litestar.params import FromHeader, FromQuery, HeaderParameter, QueryParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

from api.auth import TICKETED, Tokens
from api.broadcast import Broadcaster, SlowConsumer
from api.context import Context, RequestContext
from api.problems import ApiError
from api.readmodel import events
from api.resources import AppResources
from api.responses.log import EventList, LiveTicket
from api.routes.parameters import READ, Limit, Offset, Since, Until, moment, page
from api.shares import UNCOUNTED
from api.streams import counted
from api.tickets import LONGEST
from bus.clock import now
from bus.envelope import Stored
from bus.selection import Filter
from bus.subjects import about_identities
from schemas.base import ID_PATTERN, Value

PING = 15.0  # seconds between comments on a quiet stream, so that proxies keep it open


class EventFilter(Value, frozen=True, kw_only=True):
    """Which messages; `type` is an event type such as `flow.completed`, or a family such as `flow`."""

    flow_id: str | None
    execution_id: str | None
    type: str | None
    identities: bool  # those about tokens of the API and enrolled workers too

    def takes(self, entry: Stored) -> bool:
        sent = entry.envelope
        if not self.identities and about_identities(entry.subject):
            return False
        if self.flow_id is not None and self.flow_id not in {sent.subject, entry.subject.split(".")[2]}:
            return False
        if self.execution_id is not None and sent.correlationid != self.execution_id:
            return False
        return self.type is None or sent.type == self.type or sent.type.startswith(f"{self.type}.")


Wanted = FromQuery[Annotated[str | None, QueryParameter(max_length=64, pattern=ID_PATTERN)]]
EventType = FromQuery[Annotated[str | None, QueryParameter(max_length=64, pattern=r"^[a-z_]+(\.[a-z_]+)*$")]]
Ticket = FromQuery[Annotated[str | None, QueryParameter(max_length=LONGEST)]]
LastEventId = FromHeader[Annotated[str | None, HeaderParameter(name="Last-Event-ID", max_length=20)]]


@post("/live/ticket", status_code=201, responses=READ, tags=["Live"], opt={"role": "viewer"})
async def live_ticket(context: Context, state: State) -> LiveTicket:
    """Give a ticket for `GET /events?ticket=`, good once, for half a minute: a browser's EventSource sends no token."""
    tokens: Tokens = state.tokens
    if context.identity.token_id is None:
        raise ApiError(403, "tickets are for those who hold a token; a browser that has logged in needs none")
    ticket, end = tokens.tickets.issue(context.identity.token_id, context.now, token_urlsafe(16))
    return LiveTicket(ticket=ticket, expires_at=end)


@get(
    "/events",
    responses=READ,
    tags=["Live"],
    middleware=[counted],
    opt={"role": "viewer", TICKETED: True, UNCOUNTED: True},
    security=[{"ticket": []}],
)
async def live_events(
    context: Context,
    resources: AppResources,
    state: State,
    flow_id: Wanted = None,
    execution_id: Wanted = None,
    type: EventType = None,  # noqa: A002  the contract's name
    last_event_id: LastEventId = None,
    after: FromQuery[Annotated[int | None, QueryParameter(ge=0, le=2**53)]] = None,
    ticket: Ticket = None,
) -> ServerSentEvent:
    """Stream the log: `id` is the sequence, `event` the type, `data` the CloudEvent.

    With `Last-Event-ID` it begins right after that message, with `after` right after that sequence, else with what
    comes from now on. A browser, whose EventSource sends no headers, shows a `ticket` instead of a token; as that is
    good once, it comes again with a new one, and `after` with the last id.
    """
    del ticket  # the guard has taken it
    last = (await resources.log.identity()).last_sequence
    begin, name = last if after is None else after, "after"
    if last_event_id is not None:
        if not last_event_id.isdecimal():
            raise ApiError(400, f"Last-Event-ID is {last_event_id!r}; it is a sequence number of this stream")
        begin, name = int(last_event_id), "Last-Event-ID"
    if begin > last:
        raise ApiError(400, f"{name} is {begin}, but the log ends at {last}: it is not of this log")
    wanted = EventFilter(
        flow_id=flow_id, execution_id=execution_id, type=type, identities=context.identity.sees_identities
    )
    tokens: Tokens = state.tokens
    allowed = partial(tokens.stands, context.identity)
    if context.scoped:
        stream = _seen(context, resources.broadcaster, begin, wanted, allowed)
    else:
        stream = _stream(resources.broadcaster, begin, wanted, allowed)
    return ServerSentEvent(stream, headers={"Cache-Control": "no-store"})


async def _stream(
    broadcaster: Broadcaster, after: int | None, wanted: EventFilter, allowed: Callable[[datetime], bool]
) -> AsyncIterator[ServerSentEventMessage]:
    """Yield messages as they come, and a comment when none has for a while.

    It ends when the client is too slow, when the process is to end, and when the client is `allowed` no more: its token
    was revoked, or has expired.
    """
    yield ServerSentEventMessage(comment="connected", data=None)
    with suppress(SlowConsumer):  # the client comes again, with its last id
        async for entry in broadcaster.subscribe(wanted.takes, after=after, ping=PING):
            if not allowed(now()):
                return
            if entry is None:
                yield ServerSentEventMessage(comment="ping", data=None)
            else:
                yield _message(entry)


async def _seen(
    context: RequestContext,
    broadcaster: Broadcaster,
    after: int,
    wanted: EventFilter,
    allowed: Callable[[datetime], bool],
) -> AsyncIterator[ServerSentEventMessage]:
    """Yield messages as they come, as far as one with a scope may see them at that moment; else like `_stream`.

    What that is, only the tables say. So whatever comes, it is from them that messages are read, once they have it.
    """
    yield ServerSentEventMessage(comment="connected", data=None)
    with suppress(SlowConsumer):  # the client comes again, with its last id
        async for news in broadcaster.subscribe(wanted.takes, after=after, ping=PING):
            if not allowed(now()):
                return
            if news is None:
                yield ServerSentEventMessage(comment="ping", data=None)
                continue
            if news.sequence > after and not await context.reached(news.sequence):
                return  # the tables are behind: likewise
            while news.sequence > after:
                found, after = await events.following(context.reader, after)
                for entry in filter(wanted.takes, found):
                    yield _message(entry)


def _message(entry: Stored) -> ServerSentEventMessage:
    return ServerSentEventMessage(id=entry.sequence, event=entry.envelope.type, data=entry.body.decode())


Before = FromQuery[Annotated[int | None, QueryParameter(ge=0, le=2**53, description="a sequence: backwards from it")]]
Pattern = FromQuery[
    Annotated[str, QueryParameter(max_length=200, pattern=r"^[A-Za-z0-9_*>-]+(\.[A-Za-z0-9_*>-]+){0,3}$")]
]


@get("/events/log", responses=READ, tags=["Live"], opt={"role": "viewer"})
async def log_events(
    context: Context,
    pattern: Pattern = ">",
    flow: FromQuery[str | None] = None,
    execution: FromQuery[str | None] = None,
    vm: FromQuery[str | None] = None,
    since: Since = None,
    until: Until = None,
    after: FromQuery[Annotated[int, QueryParameter(ge=0, le=2**53)]] = 0,
    before: Before = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> EventList:
    """List the log, in its order: `pattern` and filters are those of `flows log`, `after` is a sequence.

    With `before`, a sequence too, it is read backwards from there: the newest first.
    """
    wanted = Filter(flow=flow, execution=execution, vm=vm, since=moment("from", since), until=moment("to", until))
    identities = context.identity.sees_identities
    part = events.Part(after=after, before=before, identities=identities)
    return await events.find(context.reader, pattern, wanted, part, page(limit, offset))
