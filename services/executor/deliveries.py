"""Lost requests: unfinished on the log, held by no worker, and not to be delivered again. Pure.

The queue delivers each request until it is acknowledged, and a worker acknowledges what has ended. When something goes
wrong between the two (a request acknowledged for another worker, a queue that was changed by hand), the queue delivers
nothing more. So what is unfinished is compared with what is held, again and again. What is missing for longer than any
delivery takes is abandoned, and requested anew. A mistake costs a second delivery, never a second outcome.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from bus.log import QueueState
from schemas.base import Value
from schemas.events import BackupAbandoned

MARGIN = 15.0  # seconds: for a status that is late, and for delays of workers that could not reach the log


class Outstanding(Value, frozen=True, kw_only=True):
    """A backup that has been requested, has not ended, and whose newest request is not abandoned yet.

    `request`: the sequence of its newest request. `delay`: for how many seconds no worker needs to hold it:
    the delay before its next attempt when its last event is `backup.retrying`, else 0. `pool` and `worker_labels`: as
    that request has them.
    """

    flow_id: str
    execution_id: str
    backup_id: str
    context_id: str
    request: int
    delay: float = 0.0
    pool: str | None = None
    worker_labels: Mapping[str, str] = {}


Missing = Mapping[tuple[str, int], float]  # by backup and request: since when no worker holds it


def check(
    outstanding: Iterable[Outstanding],
    queues: Mapping[str | None, QueueState],
    held: Container[str],
    missing: Missing,
    *,
    now: float,
    ack_wait: float,
) -> tuple[Missing, list[Outstanding]]:
    """Return what is missing now, and which of it is abandoned.

    `queues`: by pool. `held`: ids of backups that live workers hold. `missing`: what the last check returned. `now`:
    seconds, of any clock that only goes forward. While no slot waits for work of a queue, its requests may wait for
    one, and none of them is missing.
    """
    still: dict[tuple[str, int], float] = {}
    abandoned: list[Outstanding] = []
    for one in outstanding:
        queue = queues.get(one.pool)
        if queue is None or not queue.listeners or one.request > queue.delivered or one.backup_id in held:
            continue
        since = still[one.backup_id, one.request] = missing.get((one.backup_id, one.request), now)
        if now - since > ack_wait + one.delay + MARGIN:
            abandoned.append(one)
    return still, abandoned


def abandonment(one: Outstanding) -> BackupAbandoned:
    """Return the event that a request is abandoned."""
    return BackupAbandoned.of(one, request=one.request)
