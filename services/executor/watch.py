"""The watch over deliveries: compares what is unfinished with what workers hold, and appends what is abandoned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from msgspec import structs

from bus.errors import LogError, Unavailable
from bus.log import Log, QueueState
from bus.stream import WORKER_QUEUE, queue_of
from services.executor.deliveries import Missing, Outstanding, check
from services.worker import status
from services.worker.status import WorkerStatus

log = logging.getLogger(__name__)

CHECK_EVERY = 10.0  # seconds

Abandon = Callable[[Outstanding], Awaitable[bool]]


async def watch(
    stream: Log,
    unfinished: Callable[[], Iterable[Outstanding]],
    abandon: Abandon,
    *,
    ack_wait: float = WORKER_QUEUE.ack_wait,
    every: float = CHECK_EVERY,
) -> None:
    """Watch for ever. `unfinished` returns what is outstanding, as far as the log was followed.

    `abandon` appends that a request is abandoned, unless it is no longer outstanding, and returns whether it did: so of
    several executors one appends it, and none appends it again. An error of the log ends this check; the next one finds
    what is left.
    """
    missing: Missing = {}
    checked = 0.0
    while True:
        await asyncio.sleep(every)
        if not (requests := list(unfinished())):
            missing = {}
            continue
        try:
            statuses, at = await stream.statuses(status.PREFIX), await stream.time()
            workers = status.live(statuses, now=at, lease=ack_wait)
            queues = await _queues(stream, requests, workers)
            held = status.held(statuses, now=at, lease=ack_wait)
            now = asyncio.get_running_loop().time()
            if now - checked > 3 * every:
                missing = {}  # this process was paused: what it saw before does not hold for the time between
            checked = now
            missing, abandoned = check(requests, queues, held, missing, now=now, ack_wait=ack_wait)
            for one in abandoned:
                if await abandon(one):
                    log.warning(
                        "no worker holds the request for backup %s, and the queue has lost it: it is requested anew",
                        one.backup_id,
                        extra={"action": "backup_abandoned", "backup_id": one.backup_id},
                    )
        except LogError as error:
            log.warning("deliveries cannot be watched: %s", error, extra={"action": "watch_failed", "part": "executor"})


async def _queues(
    stream: Log, requests: Iterable[Outstanding], workers: Sequence[WorkerStatus]
) -> dict[str | None, QueueState]:
    """Return the queues of these requests by pool. A worker with a free slot listens at all of its queues.

    It may ask just another one. Raises `LogError`.
    """
    found: dict[str | None, QueueState] = {}
    for pool, labels in {one.pool: one.worker_labels for one in requests}.items():
        try:
            queue = await stream.queue(queue_of(pool))
        except Unavailable:
            if pool is None:
                raise
            continue  # the set-up has not made it yet
        free = any(one.free and one.may_serve(labels) for one in workers)
        found[pool] = structs.replace(queue, listeners=max(queue.listeners, int(free)))
    return found
