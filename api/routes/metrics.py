"""Metrics for Prometheus: how far the tables are behind the log, and what runs, waits and has been done."""

from __future__ import annotations

from collections.abc import Mapping

from litestar import Response, get
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import func, select

from api.resources import AppResources
from api.routes.health import refusing, services
from schemas import tables as t
from services.health import STATES, Health


@get("/metrics", tags=["Health"], media_type="text/plain")
async def metrics(resources: AppResources) -> Response[bytes]:
    """Return the engine's state now, as Prometheus reads it."""
    registry = CollectorRegistry()
    last = (await resources.log.identity()).last_sequence
    position = await resources.reader.position()
    Gauge("flows_log_last_sequence", "Sequence of the last message on the log", registry=registry).set(last)
    lag = Gauge("flows_projection_lag_messages", "Messages that the tables are behind the log", registry=registry)
    lag.set(max(0, last - position))
    off = Gauge("flows_schedulers_refusing", "Schedulers that fire nothing, as their clock is off", registry=registry)
    off.set(len(await refusing(resources)))
    _services(registry, await services(resources))
    async with resources.reader.snapshot() as reader:
        executions = Gauge("flows_executions", "Executions by status", ["status"], registry=registry)
        for row in await reader.rows(
            select(t.executions.c.status.label("value"), func.count().label("number")).group_by(t.executions.c.status)
        ):
            executions.labels(row.value).set(row.number)
        backups = Gauge("flows_backups", "Backups by status", ["status"], registry=registry)
        for row in await reader.rows(
            select(t.backup_jobs.c.status.label("value"), func.count().label("number")).group_by(t.backup_jobs.c.status)
        ):
            backups.labels(row.value).set(row.number)
        flows = Gauge("flows_flows", "Flows by whether they are enabled", ["enabled"], registry=registry)
        enabled = t.protection_flows.c.enabled
        for row in await reader.rows(select(enabled.label("value"), func.count().label("number")).group_by(enabled)):
            flows.labels(str(bool(row.value)).lower()).set(row.number)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


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
