"""The queue: what waits and for what, and what runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import Select, Text, case, cast, exists, func, select

from api.readmodel import executions, settings
from api.readmodel.reader import Reader, consistent, shaped
from api.responses.backups import PendingExecution, Queue, RunningBackup, WaitingBackup, Workers
from schemas import tables as t
from schemas.base import Value
from schemas.ids import AD_HOC
from schemas.labels import canonical
from services.executor.admission import Claim, Limits, Obstacle, Slots, obstacle, urgency
from services.worker.status import WorkerStatus

MOST = 1_000  # executions and backups that wait, and backups that run, in one response
MOST_EXECUTIONS = 10_000  # executions among which the first to be admitted are looked for
AT_ONCE = 50  # executions whose waiting backups are read together
IN_FLIGHT = ("queued", "running")


@consistent
async def current(reader: Reader, workers: Sequence[WorkerStatus] | None) -> Queue:
    """Return what waits, in the order in which it goes on, and for what; what runs; and the limits.

    `workers`: those that are there; None when that cannot be seen.
    """
    total, of_repository = await limits(reader)
    for_worker = await _queued(reader, workers)
    _, of_each = await limits(reader.of_everything())
    for_slot = await _pending(reader, MOST - len(for_worker), Limits(of_repository=of_each.get, total=total))
    return Queue(
        pending=await _turns(reader),
        waiting=[*for_worker, *for_slot],
        running=await _running(reader),
        workers=None if workers is None else _summed(workers),
        limits={"total": total, "repositories": of_repository},
    )


async def limits(reader: Reader) -> tuple[int | None, dict[str, int]]:
    """Return how many backups may be in flight in all (None: no limit), and in each repository that has a limit."""
    r = t.repositories
    limited = await reader.rows(select(r.c.id, r.c.max_concurrent_jobs).where(r.c.max_concurrent_jobs.is_not(None)))
    return (await settings.current(reader)).max_concurrent_jobs, {row.id: row.max_concurrent_jobs for row in limited}


class Load(Value, frozen=True, kw_only=True):
    """How much waits for what, and the slots: `taken`, of `total` (None: no limit) and of each limited repository.

    `waiting`: executions that wait for their `turn`; of backups those that wait for a `worker`, or for one with
    `labels` that none has who is there, and by the kind of what keeps them from a slot. The first `MOST` of these are
    looked at; those beyond them wait for `others`.
    """

    waiting: Counter[str]
    taken: Slots
    total: int | None
    of_repository: dict[str, int]


@consistent
async def load(reader: Reader, workers: Sequence[WorkerStatus] | None) -> Load:
    """Return how much waits for what. `workers`: those that are there; None when that cannot be seen."""
    e, j = t.executions, t.backup_jobs
    waiting: Counter[str] = Counter()
    turns = select(func.count()).select_from(e).where(e.c.status == "pending")
    waiting["turn"] = (await reader.rows(turns))[0][0]
    labels = cast(j.c.worker_labels, Text)  # PostgreSQL compares no JSON
    counted = _open(j.c.status, labels.label("labels"), func.count().label("number")).group_by(j.c.status, labels)
    for row in await reader.rows(counted):
        if name := {"queued": "worker", "pending": "others"}.get(row.status):
            lacks = name == "worker" and _lacks(workers, json.loads(row.labels))
            waiting["labels" if lacks else name] += row.number
    total, of_repository = await limits(reader)
    found = await _obstacles(reader, MOST, Limits(of_repository=of_repository.get, total=total))
    for _, what in found.of:
        waiting["executor" if what is None else what.kind] += 1
    waiting["others"] -= len(found.of)
    return Load(waiting=waiting, taken=found.slots, total=total, of_repository=of_repository)


def _lacks(workers: Sequence[WorkerStatus] | None, labels: Mapping[str, str]) -> bool:
    """Tell whether no worker has the labels that a backup requires, although there may be others."""
    return bool(labels) and workers is not None and not any(one.may_serve(labels) for one in workers)


# --- executions that wait for their turn -----------------------------------------------------------------------------


async def _turns(reader: Reader) -> list[PendingExecution]:
    """Return the executions that wait for their turn, the oldest first."""
    e = t.executions
    columns = (e.c.flow_id, e.c.flow_name, e.c.execution_type, e.c.triggered_by, e.c.occurrence, e.c.priority)
    pending = select(e.c.id.label("execution_id"), *columns, e.c.created_at.label("since"))
    pending = pending.where(e.c.status == "pending").order_by(e.c.created_at, e.c.id).limit(MOST)
    rows = await reader.mappings(pending)
    waiting_for = await executions.turns(reader, {row["flow_id"] for row in rows})
    return [shaped(PendingExecution, {**row, "waiting_for": waiting_for[row["flow_id"]]}) for row in rows]


# --- backups that wait for a worker ----------------------------------------------------------------------------------


async def _queued(reader: Reader, workers: Sequence[WorkerStatus] | None) -> list[WaitingBackup]:
    """Return the first backups that have a slot and wait for a worker, in the order in which they were requested."""
    j, r = t.backup_jobs, t.repositories
    queued = _open(*_about(), r.c.type.label("engine")).outerjoin(r, r.c.id == j.c.repository_id)
    queued = queued.where(j.c.status == "queued").order_by(j.c.requested_at, j.c.execution_id, j.c.position).limit(MOST)
    return [
        shaped(
            WaitingBackup,
            {**row, "waiting_for": for_worker(row["engine"], row["attempt"], workers, row["worker_labels"])},
        )
        for row in await reader.mappings(queued)
    ]


def for_worker(
    engine: str | None,
    attempt: int,
    workers: Sequence[WorkerStatus] | None,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return what a backup waits for that has a slot. `attempt`: the last one that was made, 0 when none was.

    `labels`: those that its worker must have.
    """
    if workers is None:
        return "a worker; which are there cannot be seen, as the log does not respond"
    labelled = [one for one in workers if one.may_serve(labels)]
    if labels and not labelled:
        return f"a worker: there is no worker for {canonical(labels)}"
    if not workers:
        return "a worker: none is there"
    able = [one for one in labelled if one.may_serve(labels, engine)]
    if not able:
        there = "the one that is there does not have it" if len(labelled) == 1 else f"none of {len(labelled)} has it"
        return f"a worker with engine {engine!r}{_labelled(labels)}: {there}"
    if attempt:
        return f"its next attempt, as attempt {attempt} failed"
    if not any(one.free for one in able):
        slots = sum(one.slots for one in able)
        return f"a worker with a free slot{_labelled(labels)}: {slots} of {slots} {'is' if slots == 1 else 'are'} taken"
    return "a worker: it is next"


def _labelled(labels: Mapping[str, str]) -> str:
    return f" and {canonical(labels)}" if labels else ""


def _summed(workers: Sequence[WorkerStatus]) -> Workers:
    slots, free = sum(one.slots for one in workers), sum(one.free for one in workers)
    return Workers(number=len(workers), slots=slots, free_slots=free)


# --- backups that wait for a slot ------------------------------------------------------------------------------------


async def _pending(reader: Reader, most: int, limits: Limits) -> list[WaitingBackup]:
    """Return the first backups that wait for a slot, in the order in which they are admitted, and for what."""
    found = await _obstacles(reader, most, limits)
    return [
        shaped(WaitingBackup, {**row, "waiting_for": _in_words(what, found.execution_of)}) for row, what in found.of
    ]


class _Obstacles(Value, frozen=True, kw_only=True):
    """The first backups that wait for a slot, with what keeps each from it; and the execution of each that does."""

    of: list[tuple[dict[str, Any], Obstacle | None]]
    slots: Slots
    execution_of: dict[str, str]


async def _obstacles(reader: Reader, most: int, limits: Limits) -> _Obstacles:
    """Return what the first backups wait for that wait for a slot, in the order in which they are admitted."""
    waiting = await _with_waiting(reader)
    rows = await _first(reader, [execution["id"] for execution in waiting], most)
    slots, holders = await _slots(reader.of_everything(), {row["context_id"] for row in rows})
    execution_of = await _named(reader, holders)
    claims = {
        execution["id"]: Claim(
            execution_id=execution["id"],
            flow_id=execution["flow_id"] or AD_HOC,
            repository_id=execution["repository_id"],
            urgency=_urgency(execution),
            limit=execution["max_concurrent_jobs"],
            waiting=(),
        )
        for execution in waiting
    }
    obstacles = [obstacle(claims[row["execution_id"]], row["context_id"], slots, limits) for row in rows]
    return _Obstacles(of=list(zip(rows, obstacles, strict=True)), slots=slots, execution_of=execution_of)


def _open(*columns: Any) -> Select[*tuple[Any, ...]]:
    """Select from the backups of executions that have not ended."""
    j, e = t.backup_jobs, t.executions
    return select(*columns).select_from(j.join(e, e.c.id == j.c.execution_id)).where(e.c.completed_at.is_(None))


def _about() -> tuple[Any, ...]:
    j, e = t.backup_jobs, t.executions
    return (
        *(j.c.id.label("backup_id"), j.c.execution_id, e.c.flow_id, j.c.context_id, e.c.priority),
        *(j.c.created_at.label("since"), j.c.status, j.c.attempt, j.c.progress_percent, j.c.worker_labels),
    )


async def _with_waiting(reader: Reader) -> list[dict[str, Any]]:
    """Return the executions in which something waits for a slot, in the order in which they are admitted."""
    j, e = t.backup_jobs, t.executions
    columns = (e.c.id, e.c.flow_id, e.c.repository_id, e.c.execution_type, e.c.started_at, e.c.priority)
    waits = exists().where(j.c.execution_id == e.c.id, j.c.status == "pending")
    found = select(*columns, e.c.max_concurrent_jobs).where(e.c.completed_at.is_(None), waits)
    return sorted(await reader.mappings(found.order_by(e.c.started_at, e.c.id).limit(MOST_EXECUTIONS)), key=_urgency)


async def _first(reader: Reader, execution_ids: Sequence[str], most: int) -> list[dict[str, Any]]:
    """Return the first backups that wait for a slot, in the order of the executions and of their plans."""
    j = t.backup_jobs
    found: list[dict[str, Any]] = []
    for start in range(0, len(execution_ids), AT_ONCE):
        if len(found) >= most:
            break
        some = execution_ids[start : start + AT_ONCE]
        rank = case({id_: number for number, id_ in enumerate(some)}, value=j.c.execution_id)
        mine = _open(*_about()).where(j.c.execution_id.in_(some), j.c.status == "pending")
        found += await reader.mappings(mine.order_by(rank, j.c.position).limit(most - len(found)))
    return found


async def _running(reader: Reader) -> list[RunningBackup]:
    """Return the first backups that run, in the order in which they were admitted."""
    j, e = t.backup_jobs, t.executions
    statement = _open(*_about(), e.c.started_at, e.c.execution_type).where(j.c.status == "running")
    rows = await reader.mappings(statement.order_by(e.c.started_at, e.c.id, j.c.position).limit(MOST))
    return [shaped(RunningBackup, row) for row in sorted(rows, key=_urgency)]


async def _slots(reader: Reader, context_ids: Collection[str]) -> tuple[Slots, dict[str, str]]:
    """Return the slots that are taken, with what keeps these VMs busy; and the execution of each such backup."""
    j, e = t.backup_jobs, t.executions
    in_flight = j.c.status.in_(IN_FLIGHT)
    slots = Slots()
    taken = _open(e.c.flow_id, e.c.repository_id, func.count().label("number")).where(in_flight)
    for row in await reader.rows(taken.group_by(e.c.flow_id, e.c.repository_id)):
        slots.total += row.number
        slots.by_flow[row.flow_id or AD_HOC] += row.number
        slots.by_repository[row.repository_id] += row.number
    busy = _open(j.c.context_id, j.c.id, j.c.execution_id).where(in_flight, j.c.context_id.in_(sorted(context_ids)))
    holders = await reader.rows(busy.order_by(j.c.position))
    slots.vms.update({row.context_id: row.id for row in holders})
    return slots, {row.id: row.execution_id for row in holders}


async def _named(reader: Reader, execution_of: Mapping[str, str]) -> dict[str, str]:
    """Return the execution of each backup, of those that may be seen."""
    e = t.executions
    seen = select(e.c.id).where(e.c.id.in_(sorted(set(execution_of.values()))))
    known = {row.id for row in await reader.rows(seen)} if execution_of else set[str]()
    return {backup_id: id_ for backup_id, id_ in execution_of.items() if id_ in known}


def _urgency(execution: Mapping[str, Any]) -> datetime:
    manual = execution["execution_type"] != "scheduled"
    return urgency(execution["started_at"], manual=manual, priority=execution["priority"])


def _in_words(found: Obstacle | None, execution_of: Mapping[str, str]) -> str:
    match found:
        case None:
            return "the executor: it is next"
        case Obstacle(kind="total"):
            return f"a slot over all flows: {found.taken} of {found.limit} are taken"
        case Obstacle(kind="flow"):
            return f"a slot of its flow: {found.taken} of {found.limit} are taken"
        case Obstacle(kind="repository"):
            return f"a slot of its repository: {found.taken} of {found.limit} are taken"
        case Obstacle() if found.holder not in execution_of:
            return "its VM, which is being backed up by a flow that you may not see"
        case Obstacle():
            return f"its VM, which execution {execution_of[found.holder]} is backing up"
