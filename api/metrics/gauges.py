"""Gauges: how the engine is now, read from the tables and from what the services say of themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import ColumnElement, func, select

from api.metrics.flows import MOST_SERIES
from api.readmodel import queue
from api.readmodel.overdue import FlowLateness
from api.readmodel.reader import Reader
from api.resources import Resources
from api.routes.health import refusing, services
from api.workers import living
from schemas import tables as t
from services.health import STATES, Health
from services.worker.status import WorkerStatus

# what a queue's length is of
WAITING = ("turn", "total", "flow", "repository", "vm", "worker", "labels", "executor", "others")


async def gauges(resources: Resources, late: Sequence[FlowLateness]) -> CollectorRegistry:
    """Return the engine's state now. `late`: how each flow is."""
    registry = CollectorRegistry()
    last = (await resources.log.identity()).last_sequence
    position = await resources.reader.position()
    Gauge("flows_log_last_sequence", "Sequence of the last message on the log", registry=registry).set(last)
    lag = Gauge("flows_projection_lag_messages", "Messages that the tables are behind the log", registry=registry)
    lag.set(max(0, last - position))
    off = Gauge("flows_schedulers_refusing", "Schedulers that fire nothing, as their clock is off", registry=registry)
    off.set(len(await refusing(resources.log)))
    overdue = Gauge(
        "flows_overdue", "Flows whose last success is older than their schedules promise", registry=registry
    )
    overdue.set(sum(one.overdue for one in late))
    _services(registry, await services(resources))
    workers = await living(resources.log)
    _workers(registry, workers or [])
    async with resources.reader.snapshot() as reader:
        await _tables(registry, reader)
        await _queue(registry, reader, workers)
    return registry


async def _tables(registry: CollectorRegistry, reader: Reader) -> None:
    executions = Gauge("flows_executions", "Executions by status", ["status"], registry=registry)
    backups = Gauge("flows_backups", "Backups by status", ["status"], registry=registry)
    flows = Gauge("flows_flows", "Flows by whether they are enabled", ["enabled"], registry=registry)
    for state, number in await _numbers(reader, t.executions.c.status):
        executions.labels(state).set(number)
    for state, number in await _numbers(reader, t.backup_jobs.c.status):
        backups.labels(state).set(number)
    for enabled, number in await _numbers(reader, t.protection_flows.c.enabled):
        flows.labels(str(bool(enabled)).lower()).set(number)


async def _numbers(reader: Reader, column: ColumnElement[Any]) -> list[tuple[Any, int]]:
    """Return how many rows of a table have each value."""
    rows = await reader.rows(select(column.label("value"), func.count().label("number")).group_by(column))
    return [(row.value, row.number) for row in rows]


async def _queue(registry: CollectorRegistry, reader: Reader, workers: Sequence[WorkerStatus] | None) -> None:
    """Add what waits, by what it waits for, and the slots."""
    length = Gauge("flows_queue_length", "What waits, by what it waits for", ["reason"], registry=registry)
    found = await queue.load(reader, workers)
    for reason in WAITING:
        length.labels(reason).set(found.waiting[reason])
    used = Gauge("flows_slots_used", "Backups in flight", registry=registry)
    used.set(found.taken.total)
    limit = Gauge("flows_slots_limit", "How many backups may be in flight", registry=registry)
    limit.set(math.inf if found.total is None else found.total)
    full = Gauge("flows_repositories_full", "Repositories all of whose slots are taken", registry=registry)
    full.set(sum(found.taken.by_repository[id_] >= limit for id_, limit in found.of_repository.items()))


def _workers(registry: CollectorRegistry, found: Sequence[WorkerStatus]) -> None:
    Gauge("flows_workers", "Workers that are there", registry=registry).set(len(found))
    Gauge("flows_worker_slots", "Slots of the workers that are there", registry=registry).set(
        sum(one.slots for one in found)
    )
    Gauge("flows_worker_slots_free", "Slots of workers that nothing takes", registry=registry).set(
        sum(one.free for one in found)
    )


def _services(registry: CollectorRegistry, found: Mapping[str, Health]) -> None:
    """Add how each service is, and where its instances are on the log."""
    states = Gauge(
        "flows_service_state", "1 for the state that a service is in", ["service", "state"], registry=registry
    )
    restarts = Gauge(
        "flows_service_restarts", "Restarts of a service within ten minutes", ["service"], registry=registry
    )
    labels = ["service", "instance"]
    position = Gauge(
        "flows_follower_position", "Sequence up to which an instance has read the log", labels, registry=registry
    )
    lag = Gauge(
        "flows_follower_lag_messages", "How far what an instance reads goes on after that", labels, registry=registry
    )
    for name, health in found.items():
        restarts.labels(name).set(health.restarts)
        for state in STATES:
            states.labels(name, state).set(state == health.state)
        for one in health.instances[:MOST_SERIES]:
            if one.state != "gone" and one.heartbeat.position is not None:
                position.labels(name, one.heartbeat.instance).set(one.heartbeat.position)
                lag.labels(name, one.heartbeat.instance).set(one.heartbeat.lag)
