"""Sets up what the engine needs of NATS: the stream, the key-value bucket beside it, and the queues; idempotently.

The part `setup` does it, and nobody else: every other part waits until it is done (`Log.open`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import BadRequestError, NotFoundError, ServerError

from bus import checkpoint, stream
from bus.connection import connect
from bus.errors import Unavailable
from bus.refusals import unavailable
from bus.stream import ANYWHERE, WORKER_QUEUE, Placement, Queue, consumer_config
from bus.subjects import STREAM

QUEUES = (WORKER_QUEUE,)
_RETIRED = ("registry",)  # durable consumers of older versions, which nothing reads any more
# of a queue's settings: those that decide what it gives to whom, and when
_KEPT = (
    *("ack_policy", "ack_wait", "backoff", "deliver_policy", "deliver_subject", "filter_subject", "filter_subjects"),
    *("headers_only", "max_ack_pending", "max_deliver", "pause_until", "rate_limit_bps"),
)


async def declare(js: JetStreamContext, queues: Sequence[Queue] = QUEUES, placement: Placement = ANYWHERE) -> None:
    """Create the stream, the bucket and the queues, or bring their settings up to date.

    Raises `Unavailable` when JetStream does not reply, or there is no room for the placement.
    """
    try:
        await checkpoint.declare(js, placement)
        await stream.declare(js, placement)
    except (TimeoutError, NatsError) as error:
        raise Unavailable(
            f"the log cannot be kept on {placement.replicas or 'any'} servers"
            f"{' with the tags ' + ', '.join(placement.tags) if placement.tags else ''}: {error or 'no reply'}. "
            "Are enough servers up? See FLOWS_REPLICAS and FLOWS_PLACEMENT_TAGS"
        ) from error
    with unavailable():
        await keep(js, queues)
        for name in _RETIRED:
            await retire(js, name)


async def keep(js: JetStreamContext, queues: Sequence[Queue]) -> list[str]:
    """Make queues that are not there, and put settings right that are others; return what was done, for people.

    All that a deleted queue ever held is delivered again, and known to be done.
    """
    done: list[str] = []
    for queue in queues:
        try:
            found = (await js.consumer_info(STREAM, queue.name)).config
        except NotFoundError:
            await _add(js, queue)
            done.append(f"the queue {queue.name!r} was not there, and is made")
            continue
        wanted = consumer_config(queue)
        if all((getattr(found, name) or None) == (getattr(wanted, name) or None) for name in _KEPT):
            continue
        try:
            await _add(js, queue)
        except (BadRequestError, ServerError):  # what cannot be changed differs: it is another consumer of this name
            await js.delete_consumer(STREAM, queue.name)  # the server takes a moment; the next look makes it
            done.append(f"another consumer had the name of the queue {queue.name!r}, and is deleted")
        else:
            done.append(f"the queue {queue.name!r} had other settings, and has its own again")
    return done


async def retire(js: JetStreamContext, name: str) -> None:
    """Delete a queue that nobody needs any more."""
    with suppress(NotFoundError):
        await js.delete_consumer(STREAM, name)


async def names(js: JetStreamContext) -> list[str]:
    """Return the names of all consumers of the log: the queues, and those of readers."""
    found: list[str] = []
    while page := await js.consumers_info(STREAM, offset=len(found)):
        found += [info.name for info in page]
    return found


async def declare_at(url: str, queues: Sequence[Queue] = QUEUES, placement: Placement = ANYWHERE) -> None:
    """Declare everything at a server's address: for whoever has a log without the part `setup`. Raises as `declare`."""
    client = await connect(url, "setup")
    try:
        await declare(client.jetstream(), queues, placement)  # pyright: ignore[reportUnknownMemberType]
    finally:
        await client.close()


async def _add(js: JetStreamContext, queue: Queue) -> None:
    await js.add_consumer(STREAM, consumer_config(queue))  # pyright: ignore[reportUnknownMemberType]
