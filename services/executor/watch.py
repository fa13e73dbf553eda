"""The watch over deliveries: compares what is unfinished with what workers hold, and says what is abandoned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from bus.errors import LogError
from bus.log import Log
from bus.stream import WORKER_QUEUE
from schemas.events import BackupAbandoned
from services.executor.deliveries import Missing, Outstanding, abandonment, look
from services.worker import status

log = logging.getLogger(__name__)

LOOK_EVERY = 10.0  # seconds

Append = Callable[[BackupAbandoned], Awaitable[object]]


async def watch(
    stream: Log,
    unfinished: Callable[[], Iterable[Outstanding]],
    append: Append,
    *,
    ack_wait: float = WORKER_QUEUE.ack_wait,
    every: float = LOOK_EVERY,
) -> None:
    """Watch for ever. `unfinished` returns what is outstanding, as far as the log was followed.

    `append` puts the event on the log, guarded with the last sequence there that was followed: so of several executors
    one says it, and none says it again. An error of the log ends the look, and the next one finds what is left.
    """
    missing: Missing = {}
    looked = 0.0
    while True:
        await asyncio.sleep(every)
        if not (requests := list(unfinished())):
            missing = {}
            continue
        try:
            queue = await stream.queue(WORKER_QUEUE)
            statuses, at = await stream.statuses(status.PREFIX), await stream.time()
            held = status.held(statuses, now=at, lease=ack_wait)
            now = asyncio.get_running_loop().time()
            if now - looked > 3 * every:
                missing = {}  # this process was paused: what it saw before says nothing of the time between
            looked = now
            missing, abandoned = look(requests, queue, held, missing, now=now, ack_wait=ack_wait)
            current = {(one.backup_id, one.request) for one in unfinished()}
            for one in abandoned:
                if (one.backup_id, one.request) not in current:
                    continue
                log.warning(
                    "nobody holds the request for backup %s, and nobody will get it again: it is made anew",
                    one.backup_id,
                    extra={"action": "backup_abandoned", "backup_id": one.backup_id},
                )
                await append(abandonment(one))
        except LogError as error:
            log.warning("deliveries cannot be watched: %s", error, extra={"action": "watch_failed", "part": "executor"})
