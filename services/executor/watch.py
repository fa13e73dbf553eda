"""The watch over deliveries: compares what is unfinished with what workers hold, and says what is abandoned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from bus.errors import LogError
from bus.log import Log
from bus.stream import WORKER_QUEUE
from services.executor.deliveries import Missing, Outstanding, look
from services.worker import note

log = logging.getLogger(__name__)

LOOK_EVERY = 10.0  # seconds

Abandon = Callable[[Outstanding], Awaitable[bool]]


async def watch(
    stream: Log,
    unfinished: Callable[[], Iterable[Outstanding]],
    abandon: Abandon,
    *,
    ack_wait: float = WORKER_QUEUE.ack_wait,
    every: float = LOOK_EVERY,
) -> None:
    """Watch for ever. `unfinished` returns what is outstanding, as far as the log was followed.

    `abandon` says on the log that a request is abandoned, unless it is outstanding no more, and returns whether it did:
    so of several executors one says it, and none says it again. An error of the log ends the look, and the next one
    finds what is left.
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
            notes, at = await stream.notes(note.PREFIX), await stream.time()
            held = note.held(notes, now=at, lease=ack_wait)
            now = asyncio.get_running_loop().time()
            if now - looked > 3 * every:
                missing = {}  # this process was paused: what it saw before says nothing of the time between
            looked = now
            missing, abandoned = look(requests, queue, held, missing, now=now, ack_wait=ack_wait)
            for one in abandoned:
                if await abandon(one):
                    log.warning(
                        "nobody holds the request for backup %s, and nobody will get it again: it is made anew",
                        one.backup_id,
                        extra={"action": "backup_abandoned", "backup_id": one.backup_id},
                    )
        except LogError as error:
            log.warning("deliveries cannot be watched: %s", error, extra={"action": "watch_failed", "part": "executor"})
