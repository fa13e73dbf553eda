"""The Litestar application: routes, errors, the offline OpenAPI page, and the resources it holds open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from importlib.resources import files
from typing import Any

from litestar import Litestar, Request, Router
from litestar.datastructures import CacheControlHeader, MutableScopeHeaders, State
from litestar.di import Provide
from litestar.routes import HTTPRoute
from litestar.static_files import create_static_files_router
from litestar.types import Message, Scope

from api import auth, decoding, headers, openapi, problems
from api.asyncapi import asyncapi
from api.attempts import Attempts
from api.auth import Tokens
from api.broadcast import Broadcaster
from api.cancelled import respond_when_cancelled
from api.commands import CommandClient
from api.context import RequestContext
from api.listener import Listener
from api.metrics.counters import Counters
from api.oidc.provider import Provider
from api.page import routes as page_routes
from api.page.files import Page
from api.readmodel.audit import recorded
from api.readmodel.reader import ReadModel
from api.refusals import Refusals
from api.resources import AppResources, Resources
from api.routes import (
    audit,
    backups,
    calendar,
    coverage,
    executions,
    flows,
    groups,
    health,
    live,
    metrics,
    notifications,
    oidc,
    overview,
    policies,
    repositories,
    schedules,
    session,
    settings,
    timeline,
    vms,
    workers,
)
from api.routes import (
    tokens as token_routes,
)
from api.shares import Shares, shared
from api.streams import Streams
from bus.clock import now
from bus.connection import connect
from bus.errors import LogError
from bus.log import Log
from bus.subjects import TOKENS
from bus.tasks import cancel_and_wait, unless
from services import database
from services.heartbeat import UNSUPERVISED, Heartbeats, Process

log = logging.getLogger(__name__)

REPLY_TIMEOUT = 1.5  # seconds: a client hears within two that the log does not reply
GRACE = 2.0  # seconds in which requests may still be served as usual when the process is to end
MAX_BODY = 2 * 1024 * 1024  # bytes: more than the largest definition has, and less than takes long to read
MOST_STREAMS = 1_000


def create_app(
    *,
    nats_url: str,
    database_url: str,
    tokens: Tokens,
    process: Process = UNSUPERVISED,
    on_lost: Callable[[], Awaitable[None]] | None = None,
    stopping: asyncio.Event | None = None,
    own: Sequence[str] = (),
    most_streams: int = MOST_STREAMS,
    provider: Provider | None = None,
    page: Page | None = None,
    workers_nats_url: str | None = None,
) -> Litestar:
    """Return the application.

    `process`: what a supervisor says of this process. `on_lost` is awaited when the connection to the log is closed for
    good. `stopping` is set by the server when the process is to end: live streams end at once, and requests that still
    wait after `GRACE` seconds are told where their command's outcome will be. `own`: the folders and files of the
    engine, which are nobody's repository. `most_streams` may be open at once, half of them from one address.
    `provider`: by whose word people may sign in, beside those with tokens. `page`: what browsers are shown.
    `workers_nats_url`: where workers elsewhere reach the log, as they are told when they are enrolled.
    """

    @asynccontextmanager
    async def resources(app: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as held:  # closed however far this comes
            client = await connect(nats_url, "api", on_closed=on_lost)
            held.push_async_callback(client.close)
            read_model = ReadModel(database.reader(database_url))
            held.push_async_callback(read_model.close)
            flows_log = Log(client, reply_timeout=REPLY_TIMEOUT)
            await unless(stopping or asyncio.Event(), flows_log.declared())
            if stopping is not None and stopping.is_set():
                yield  # before there was anything to serve
                return
            end = (await flows_log.identity()).last_sequence
            commands = CommandClient(flows_log, partial(recorded, read_model), now, since=end)
            broadcaster = Broadcaster(flows_log, since=end)
            app.state.resources = Resources(flows_log, commands, read_model, broadcaster, own=own)
            held.callback(app.state.resources.files.close)
            tokens.fold(await flows_log.latest([TOKENS], until=end))
            app.state.tokens = tokens
            app.state.metrics = metrics.cached(app.state.resources)
            counters = app.state.counters = Counters()
            listener = Listener(flows_log, [tokens.hear, commands.hear, broadcaster.hear, counters.hear], after=end)
            heartbeats = Heartbeats(flows_log, "api", listener.reads, lambda: listener.position, process)
            tasks = [await _listening(listener, on_lost)]
            heartbeats.start()
            tasks.append(asyncio.create_task(heartbeats.run()))
            tasks.append(asyncio.create_task(tokens.usage.run(flows_log)))
            if stopping is not None:
                tasks.append(asyncio.create_task(_stop(stopping, app.state.resources)))
            try:
                yield
            finally:
                await cancel_and_wait(*tasks)
                await app.state.metrics.close()
                with suppress(LogError):
                    await heartbeats.leave()

    streams = Streams(total=most_streams, per_address=max(1, most_streams // 2))
    app = Litestar(
        route_handlers=[_public(), _api(), _assets(), page_routes.router(page)],
        guards=[decoding.well_formed],  # guards are coroutines: the framework would call a function in a thread
        lifespan=[resources],
        middleware=[respond_when_cancelled],
        dependencies={"resources": Provide(_resources, sync_to_thread=False)},
        exception_handlers=problems.HANDLERS,
        before_send=[_allow, headers.secure],
        openapi_config=openapi.config(),
        request_max_body_size=MAX_BODY,
        state=State(
            {
                "refusals": Refusals(),
                "streams": streams,
                "attempts": Attempts(),
                "shares": Shares(),
                "provider": provider,
                "workers_nats_url": workers_nats_url,
            }
        ),
        logging_config=None,
        debug=False,
    )
    auth.check_routes(app)
    openapi.name_engines(app.openapi_schema)
    openapi.correct(app.openapi_schema)
    openapi.say_what_is_refused(app.openapi_schema)
    return app


async def _stop(stopping: asyncio.Event, resources: Resources) -> None:
    """Let go of those who wait, once the process is to end."""
    await stopping.wait()
    resources.broadcaster.close()
    await asyncio.sleep(GRACE)
    resources.commands.close()
    resources.reader.stop_waiting()


async def _listening(listener: Listener, on_lost: Callable[[], Awaitable[None]] | None) -> asyncio.Task[None]:
    """Begin to listen; return once nothing can be missed."""
    listening = asyncio.Event()
    task = asyncio.create_task(_listen(listener, listening, on_lost))
    await listening.wait()
    return task


async def _listen(listener: Listener, listening: asyncio.Event, on_lost: Callable[[], Awaitable[None]] | None) -> None:
    """Hear the log. Without it nothing can be served: when that fails, the process is to end."""
    try:
        await listener.run(listening)
    except Exception:
        log.exception("the API no longer hears the log", extra={"action": "listener_failed"})
        listening.set()
        if on_lost is not None:
            await on_lost()


async def _allow(message: Message, scope: Scope) -> None:
    """Name all methods of a path in `Allow`; the framework's own response to OPTIONS names those of one handler."""
    if message["type"] == "http.response.start" and scope.get("method") == "OPTIONS":
        template = scope.get("path_template")
        routes = [route for route in scope["litestar_app"].routes if route.path_format == template]
        methods = sorted({str(method) for route in routes if isinstance(route, HTTPRoute) for method in route.methods})
        MutableScopeHeaders(message)["Allow"] = ", ".join(methods)


def _api() -> Router:
    return Router(
        path="/api/v1",
        route_handlers=[
            flows.ROUTER,
            executions.ROUTER,
            live.live_ticket,
            live.live_events,
            live.log_events,
            audit.list_audit,
            audit.get_command,
            backups.ROUTER,
            backups.get_queue,
            calendar.over_all_flows,
            calendar.get_freeze,
            calendar.set_freeze,
            calendar.lift_freeze,
            timeline.get_timeline,
            coverage.ROUTER,
            overview.get_overview,
            session.sign_in,
            session.get_session,
            session.sign_out,
            oidc.begin,
            oidc.finish,
            settings.get_settings,
            settings.update_settings,
            vms.ROUTER,
            vms.GROUPS_ROUTER,
            vms.DISCOVERY_ROUTER,
            groups.ROUTER,
            schedules.ROUTER,
            repositories.ROUTER,
            policies.ROUTER,
            notifications.ROUTER,
            workers.ROUTER,
            token_routes.ROUTER,
        ],
        guards=[auth.guard, decoding.known_parameters],
        middleware=[shared],
        dto=decoding.StrictBody,
        return_dto=None,
        dependencies={"context": Provide(_context, sync_to_thread=False)},
        security=[{"bearer": []}, {"session": []}],
    )


def _resources(state: State) -> Resources:
    return state.resources  # type: ignore[no-any-return]


def _context(resources: AppResources, request: Request[Any, Any, Any]) -> RequestContext:
    return RequestContext(resources, request)


def _public() -> Router:
    """Return what needs no token."""
    handlers = [health.live, health.ready, metrics.metrics, asyncapi, openapi.script]
    return Router(path="/", route_handlers=handlers, guards=[decoding.known_parameters], opt={"public": True})


def _assets() -> Router:
    return create_static_files_router(
        path=openapi.ASSETS,
        directories=[str(files("swagger_ui") / "static")],
        cache_control=CacheControlHeader(no_cache=True),  # kept, and asked about
        include_in_schema=False,
        guards=[decoding.known_parameters],
        opt={"public": True},
    )
