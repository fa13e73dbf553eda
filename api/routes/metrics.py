"""Metrics for Prometheus: how far the tables are behind the log, and what runs, waits and has been done.

They need no token, as a scraper has none: they are numbers alone. So they are made to be asked for by anybody, at any
rate: counted once for all, and again only after a while that grows with the tables (`api.cached`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from litestar import Response, get
from litestar.datastructures import State
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import ColumnElement, func, select

from api.cached import Cached
from api.problems import errors
from api.readmodel.reader import Reader
from api.resources import Resources
from api.routes.health import refusing, services
from schemas import tables as t
from services.health import STATES, Health


@get("/metrics", tags=["Health"], media_type="text/plain", responses=errors(400))
async def metrics(state: State) -> Response[bytes]:
    """Return the engine's state as Prometheus reads it, a few seconds old; older when counting takes long."""
    found: Cached[bytes] = state.metrics
    return Response(await found.get(), media_type=CONTENT_TYPE_LATEST)


def cached(resources: Resources) -> Cached[bytes]:
    """Return the metrics, to be made when somebody asks: counting takes at most one part in twenty of a connection."""
    return Cached(partial(_counted, resources), seconds=5.0, times=20.0)


async def _counted(resources: Resources) -> bytes:
    """Return the engine's state now."""
    registry = CollectorRegistry()
    last = (await resources.log.identity()).last_sequence
    position = await resources.reader.position()
    Gauge("flows_log_last_sequence", "Sequence of the last message on the log", registry=registry).set(last)
    lag = Gauge("flows_projection_lag_messages", "Messages that the tables are behind the log", registry=registry)
    lag.set(max(0, last - position))
    off = Gauge("flows_schedulers_refusing", "Schedulers that fire nothing, as their clock is off", registry=registry)
    off.set(len(await refusing(resources)))
    executions = Gauge("flows_executions", "Executions by status", ["status"], registry=registry)
    backups = Gauge("flows_backups", "Backups by status", ["status"], registry=registry)
    flows = Gauge("flows_flows", "Flows by whether they are enabled", ["enabled"], registry=registry)
    _services(registry, await services(resources))
    async with resources.reader.snapshot() as reader:
        for status, number in await _numbers(reader, t.executions.c.status):
            executions.labels(status).set(number)
        for status, number in await _numbers(reader, t.backup_jobs.c.status):
            backups.labels(status).set(number)
        for enabled, number in await _numbers(reader, t.protection_flows.c.enabled):
            flows.labels(str(bool(enabled)).lower()).set(number)
    return generate_latest(registry)


async def _numbers(reader: Reader, column: ColumnElement[Any]) -> list[tuple[Any, int]]:
    """Return how many rows of a table have each value."""
    rows = await reader.rows(select(column.label("value"), func.count().label("number")).group_by(column))
    return [(row.value, row.number) for row in rows]


def _services(registry: CollectorRegistry, found: Mapping[str, Health]) -> None:
    """Add how each service is."""
    states = Gauge(
        "flows_service_state", "1 for the state that a service is in", ["service", "state"], registry=registry
    )
    restarts = Gauge(
        "flows_service_restarts", "Restarts of a service within ten minutes", ["service"], registry=registry
    )
    for name, health in found.items():
        restarts.labels(name).set(health.restarts)
        for state in STATES:
            states.labels(name, state).set(state == health.state)
