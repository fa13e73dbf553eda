"""The checks: the log against itself, against the queue, and against what is due."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from bus.checkpoint import Status
from bus.envelope import Stored
from bus.errors import Unavailable
from bus.log import Log, QueueState
from bus.stream import WORKER_QUEUE, queue_of
from cli.doctor.findings import Finding, Issue, failed, finding
from cli.doctor.folded import Folded, read_on
from cli.doctor.receivers import receivers
from cli.doctor.tables import compared
from schemas.base import Value
from schemas.events import BackupAbandoned, DeadSettled
from schemas.labels import canonical
from services.executor import state as executor_state
from services.pools import KEY, labels_of
from services.scheduler.calendar import unreadable
from services.scheduler.validation import never_fires
from services.worker.status import PREFIX, live

PATIENCE = 3.0  # seconds in which a living system does what is due
FRESH = timedelta(seconds=60)  # since a living worker published its status


async def examine(log: Log, tables: AsyncEngine) -> AsyncIterator[Finding]:
    """Yield what is found, check by check."""
    folded = Folded()
    # the queue first: what was acknowledged there has its end on the log by the time that is read
    work, statuses = {WORKER_QUEUE.name: await log.queue(WORKER_QUEUE)}, await log.statuses(PREFIX)
    for queue in map(queue_of, labels_of(await log.get_status(KEY))):
        with suppress(Unavailable):  # it may have gone just now
            work[queue.name] = await log.queue(queue)
    await read_on(log, folded)
    yield Finding(level="ok", text=f"the log responds, and holds messages up to {folded.position:,}")
    yield finding(await _not_current(log), "every replica of the log is current")
    present = await log.time()
    workers = Workers(statuses, present)
    yield finding(
        _lost(work, workers, folded, present), f"every backup without an end is in the queue: {len(folded.requested)}"
    )
    for text in _unserved(work, workers, folded):
        yield failed(text, passing=True)
    yield _slots(folded)
    yield finding(
        _settleable(folded, folded.repeats),
        f"every trigger has one outcome, every execution one end; {len(folded.executor.executions)} are running",
    )
    yield finding(_settleable(folded, folded.wrong), "nothing ran while it was disabled")
    yield finding(
        (
            f"no service can take in message {sequence:,}: {error}"
            for sequence, error in folded.unfolded.items()
            if sequence not in folded.dead.keys() | folded.settled  # else it is set aside
        ),
        "every message can be taken in",
    )
    yield await _checkpoint(log, folded)
    due = await _still_due(log, folded)
    yield finding(
        (f"command {id_} has no outcome: is a registry running?" for id_ in sorted(due.outcomes)),
        "every command has its outcome",
        passing=True,
    )
    yield finding(
        (f"{kind} {id_} is due, and not on the log: is an executor running?" for id_, kind in due.decisions.items()),
        "nothing of the executor's is due: whatever waits has its reason",
        passing=True,
    )
    yield finding(
        (
            f"an occurrence or a deadline of flow {flow_id} is due, and not on the log: is a scheduler running?"
            for flow_id in sorted(due.flows)
        ),
        "nothing of the scheduler's is due",
        passing=True,
    )
    yield finding(_never_fire(folded, present), "every schedule in use will fire")
    yield await compared(log, tables, folded, patience=PATIENCE)
    yield await receivers(tables, present)
    yield finding(_dead_letters(folded), "every message could be used, or is settled")


async def _not_current(log: Log) -> list[str]:
    """Return the replicas that lack messages, and still do when a living server had the time to fetch them."""
    before = {one.server for one in (await log.identity()).replicas if not one.current}
    if not before:
        return []
    await asyncio.sleep(PATIENCE)
    return [
        f"the replica of the log on server {one.server} is not current, and lacks {one.lag:,} operations: look into "
        f"that server's log; while it is stopped and its stream's folder moved away, it fetches all anew"
        for one in (await log.identity()).replicas
        if one.server in before and not one.current
    ]


def _never_fire(folded: Folded, present: datetime) -> Iterator[str]:
    """Yield the schedules that flows are on and that will not fire, of which their authors may not know."""
    catalogue = folded.scheduler.catalogue
    for id_, schedule in sorted(catalogue.schedules.items()):
        flows = [flow for flow_id in folded.scheduler.flows_on(id_) if (flow := catalogue.flows[flow_id]).enabled]
        if not schedule.enabled or not flows or unreadable(schedule):  # what cannot be read is a dead letter
            continue
        if wrong := never_fires(schedule, present):
            yield (
                f"schedule {schedule.name!r} ({id_}), which {len(flows)} enabled flows are on, will not fire: "
                f"{wrong.field}: {wrong.reason}"
            )


class Due(Value, frozen=True, kw_only=True):
    """What should be on the log: outcomes of commands, decisions of the executor (and their kinds), flows' times."""

    outcomes: set[str]
    decisions: dict[str, str]
    flows: set[str]


def _due(folded: Folded) -> Due:
    return Due(outcomes=set(folded.commands), decisions=folded.due_by_executor, flows=folded.due_by_scheduler)


async def _still_due(log: Log, folded: Folded) -> Due:
    """Return what is due, and is still due when a living system had the time for it."""
    before = _due(folded)
    if not (before.outcomes or before.decisions or before.flows):
        return before
    await asyncio.sleep(PATIENCE)
    await read_on(log, folded)
    after = _due(folded)
    return Due(
        outcomes=before.outcomes & after.outcomes,
        decisions={id_: kind for id_, kind in after.decisions.items() if id_ in before.decisions},
        flows=before.flows & after.flows,
    )


class Workers:
    """What living workers have published: which backups they hold, and their labels."""

    def __init__(self, statuses: Mapping[str, Status], present: datetime) -> None:
        living = [status.value for status in statuses.values() if present - status.at < FRESH]
        self.alive = bool(living)
        self.held = {str(backup_id) for value in living for backup_id in value.get("holding", ())}
        self.living = live(statuses, now=present, lease=FRESH.total_seconds())


def _unserved(work: Mapping[str, QueueState], workers: Workers, folded: Folded) -> Iterator[str]:
    """Yield which queues hold backups that no worker asks for."""
    of_queue = {queue_of(one.event.pool).name: one.event.worker_labels for one in folded.requested.values()}
    for name, queue in work.items():
        labels = of_queue.get(name, {})
        if not queue.pending or queue.listeners or any(one.may_serve(labels) for one in workers.living):
            continue
        if labels:
            which = canonical(labels)
            yield f"{queue.pending} backups wait for a worker with {which}, and there is no worker for {which}"
        else:
            yield f"{queue.pending} backups wait in the queue, and no worker asks for them: is one running?"


def _lost(work: Mapping[str, QueueState], workers: Workers, folded: Folded, present: datetime) -> Iterator[Issue]:
    """Yield requests that no worker holds, and the queue will not deliver."""
    for id_, request in folded.requested.items():
        queue = work.get(queue_of(request.event.pool).name)
        if request.sequence in folded.abandoned or queue is None:
            continue
        if request.sequence <= queue.acknowledged:
            text = f"its request (message {request.sequence:,}) is no longer in the queue"
        elif (
            workers.alive
            and queue.listeners
            and request.sequence <= queue.delivered
            and id_ not in workers.held
            and present > request.quiet
        ):
            text = (
                f"its request (message {request.sequence:,}) was given to a worker, none holds it, and slots are free"
            )
        else:
            continue
        event = request.event
        remedy = BackupAbandoned(
            flow_id=event.flow_id,
            execution_id=event.execution_id,
            backup_id=id_,
            context_id=event.context_id,
            request=request.sequence,
        )
        yield Issue(text=f"backup {id_} has no end, and {text}", remedy=remedy)


def _settleable(folded: Folded, found: Mapping[int, str]) -> Iterator[Issue]:
    """Yield what cannot be undone, and was not settled yet."""
    for sequence, text in found.items():
        if sequence not in folded.settled:
            yield Issue(text=text, remedy=DeadSettled(sequence=sequence, how="dismissed"))


def _dead_letters(folded: Folded) -> Iterator[Issue]:
    known = folded.repeats.keys() | folded.wrong.keys()
    return _settleable(
        folded,
        {
            sequence: f"message {sequence:,} on {dead_letter.subject} could not be used by the {dead_letter.service} "
            f"({dead_letter.reason}): {dead_letter.error}"
            for sequence, dead_letter in folded.dead.items()
            if sequence not in known
        },
    )


def _slots(folded: Folded) -> Finding:
    held = {id_ for execution in folded.executor.executions.values() for id_ in execution.in_flight}
    issues = [f"backup {id_} holds a slot, and has ended" for id_ in sorted(held - folded.requested.keys())]
    issues += [f"backup {id_} is in flight, and holds no slot" for id_ in sorted(folded.requested.keys() - held)]
    if folded.executor.in_flight.total != len(held):
        issues.append(f"{folded.executor.in_flight.total} slots are taken by {len(held)} backups")
    return finding(issues, f"slots equal the log's count: {len(held)} backups are in flight")


async def _checkpoint(log: Log, folded: Folded) -> Finding:
    """Compare the state of an executor that starts now with the state folded from the whole log."""
    position = (await log.checkpoint("executor")).position
    restarted = executor_state.State()
    for entry in await log.read(["command.*.*", "rejected.*.*", "flow.*.*", "backup.>"], after=position):
        counts = entry.sequence <= folded.position and entry.sequence not in folded.repeats | folded.unfolded
        if isinstance(entry, Stored) and counts:
            executor_state.evolve(restarted, entry)
    whole = folded.executor
    same = restarted.executions.keys() == whole.executions.keys() and restarted.triggers.keys() == whole.triggers.keys()
    same &= restarted.in_flight.total == whole.in_flight.total
    issues = [] if same else [f"the executor's checkpoint {position:,} leaves out something that is not over"]
    return finding(issues, f"the executor's checkpoint, {position:,}, leaves out nothing")
