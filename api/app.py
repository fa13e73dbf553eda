"""The Litestar application: routes, errors, the offline OpenAPI page, and the parts it holds open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Any

from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.static_files import create_static_files_router
from sqlalchemy.exc import SQLAlchemyError

from api import auth, problems
from api.auth import Tokens
from api.desk import Desk
from api.gateway import Gateway
from api.parts import Parts
from api.readmodel.reading import Reading
from api.routes import executions, flows, groups, health, policies, repositories, schedules, vms
from bus.connection import connect
from bus.errors import LogError
from bus.log import Log
from services import database

log = logging.getLogger(__name__)

MAX_BODY = 4 * 1024 * 1024  # bytes


def create_app(
    *, nats_url: str, database_url: str, tokens: Tokens, on_lost: Callable[[], Awaitable[None]] | None = None
) -> Litestar:
    """Return the application. `on_lost` is awaited when the connection to the log is closed for good."""

    @asynccontextmanager
    async def parts(app: Litestar) -> AsyncIterator[None]:
        client = await connect(nats_url, "api", on_closed=on_lost)
        reading = Reading(database.reader(database_url))
        flows_log = await Log.open(client)
        gateway = Gateway(flows_log)
        listening = asyncio.Event()
        listener = asyncio.create_task(_listen(gateway, listening, on_lost))
        await listening.wait()
        app.state.parts = Parts(flows_log, gateway, reading)
        app.state.tokens = tokens
        try:
            yield
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener
            await reading.close()
            await client.close()

    return Litestar(
        route_handlers=[_api(), health.live, health.ready, _page_assets()],
        lifespan=[parts],
        dependencies={"parts": Provide(_parts, sync_to_thread=False)},
        exception_handlers={
            problems.ApiError: problems.handle_api_error,
            problems.Pending: problems.handle_pending,
            LogError: problems.handle_log_error,
            SQLAlchemyError: problems.handle_database_error,
            HTTPException: problems.handle_http_exception,
            Exception: problems.handle_bug,
        },
        openapi_config=_openapi(),
        request_max_body_size=MAX_BODY,
        logging_config=None,
        debug=False,
    )


async def _listen(gateway: Gateway, listening: asyncio.Event, on_lost: Callable[[], Awaitable[None]] | None) -> None:
    """Hear outcomes. Without them nothing could be answered: when it fails, the process is to end."""
    try:
        await gateway.run(listening)
    except Exception:
        log.exception("the API no longer hears the log", extra={"action": "listener_failed"})
        listening.set()
        if on_lost is not None:
            await on_lost()


def _api() -> Router:
    return Router(
        path="/api/v1",
        route_handlers=[
            flows.ROUTER,
            executions.ROUTER,
            executions.get_command,
            vms.ROUTER,
            groups.ROUTER,
            schedules.ROUTER,
            repositories.ROUTER,
            policies.ROUTER,
        ],
        guards=[auth.guard],
        dependencies={"desk": Provide(_desk, sync_to_thread=False)},
        security=[{"bearer": []}],
    )


def _parts(state: State) -> Parts:
    return state.parts  # type: ignore[no-any-return]


def _desk(parts: NamedDependency[Parts], request: Request[Any, Any, Any]) -> Desk:
    return Desk(parts.gateway, parts.reading, request)


def _openapi() -> OpenAPIConfig:
    """Return OpenAPI's settings; its page loads nothing from elsewhere."""
    assets = "/schema/assets"
    return OpenAPIConfig(
        title="Protection Flows Engine",
        version="1",
        description="What to back up, when, where to and how: protection flows on one event log.",
        path="/schema",
        components=Components(security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}),
        render_plugins=[
            SwaggerRenderPlugin(
                path="/",
                js_url=f"{assets}/swagger-ui-bundle.js",
                css_url=f"{assets}/swagger-ui.css",
                standalone_preset_js_url=f"{assets}/swagger-ui-standalone-preset.js",
                favicon="<link rel='icon' href='data:,'>",
            ),
            JsonRenderPlugin(path="/openapi.json"),
        ],
    )


def _page_assets() -> Router:
    return create_static_files_router(
        path="/schema/assets", directories=[str(files("swagger_ui") / "static")], include_in_schema=False
    )
