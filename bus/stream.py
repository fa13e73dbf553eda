"""What the stream and its queues are: names, settings, and where a cluster keeps them. `bus/setup.py` declares them."""

from __future__ import annotations

from typing import Any

from nats.js import JetStreamContext, api
from nats.js.errors import NotFoundError

from bus.format import marked
from bus.identities import POOL_QUEUE
from bus.subjects import REPUBLISH_FROM, REPUBLISH_TO, STREAM, STREAM_SUBJECTS
from schemas.base import Value

# Header values of Nats-TTL. An activity outlives a year's audit; progress is of use while a backup runs.
TTL = {"forever": None, "activity": f"{400 * 24}h", "progress": "24h"}


class Queue(Value, frozen=True, kw_only=True):
    """A durable consumer that a service's instances share. `ack_wait`: seconds until a message comes again.

    `start`: the sequence from which on it delivers when it is made; None: all that there is.
    """

    name: str
    filters: tuple[str, ...]
    ack_wait: float
    start: int | None = None


WORKER_QUEUE = Queue(name="worker", filters=("backup.requested.*",), ack_wait=30)


def queue_of(pool: str | None, start: int = 1) -> Queue:
    """Return the queue of the workers of a pool; None: of any worker."""
    if pool is None:
        return WORKER_QUEUE
    filters = (f"backup.requested.*.{pool}",)
    return Queue(name=f"{POOL_QUEUE}{pool}", filters=filters, ack_wait=WORKER_QUEUE.ack_wait, start=start)


class Placement(Value, frozen=True, kw_only=True):
    """Where a cluster keeps the log and what is beside it: `replicas` servers, those with all `tags`.

    What is None is the server's choice for what is new (one replica, any servers), and left as it is otherwise.
    """

    replicas: int | None = None
    tags: tuple[str, ...] = ()

    def of(self, config: api.StreamConfig) -> api.StreamConfig:
        """Return a stream's settings with this placement. Replicas are not compressed (docs/adr/0019)."""
        replicated = (self.replicas or config.num_replicas or 1) > 1
        changes: dict[str, Any] = {"compression": api.StoreCompression.NONE} if replicated else {}
        if self.replicas is not None:
            changes["num_replicas"] = self.replicas
        if self.tags:
            changes["placement"] = api.Placement(tags=list(self.tags))
        return config.evolve(**changes)  # pyright: ignore[reportUnknownMemberType]


ANYWHERE = Placement()


async def declare(js: JetStreamContext, placement: Placement = ANYWHERE) -> None:
    """Create the stream, or bring its settings up to date. Raises `NewerLog` before it changes anything."""
    config = api.StreamConfig(
        name=STREAM,
        description="The log of the Protection Flows Engine: everything asked, decided and done.",
        subjects=list(STREAM_SUBJECTS),
        storage=api.StorageType.FILE,
        compression=api.StoreCompression.S2,
        allow_atomic=True,
        allow_msg_ttl=True,
        allow_direct=False,  # a stored message sent on as it is, to where a request says, would be a forgery
        duplicate_window=120,
        republish=api.RePublish(src=REPUBLISH_FROM, dest=REPUBLISH_TO),
        metadata=marked({}),
    )
    try:
        found = (await js.stream_info(STREAM)).config
    except NotFoundError:
        await js.add_stream(placement.of(config))  # pyright: ignore[reportUnknownMemberType]
        return
    mutable = {field: getattr(config, field) for field in _MUTABLE} | {"metadata": marked(found.metadata)}
    wanted = placement.of(found.evolve(**mutable))  # pyright: ignore[reportUnknownMemberType]
    if wanted != found:
        await js.update_stream(wanted)  # pyright: ignore[reportUnknownMemberType]


_MUTABLE = (
    "description",
    "subjects",
    "compression",
    "allow_atomic",
    "allow_direct",
    "allow_msg_ttl",
    "duplicate_window",
)


def consumer_config(queue: Queue) -> api.ConsumerConfig:
    """Return a queue's settings. Deliveries are without limit: the service itself counts and reports attempts."""
    return api.ConsumerConfig(
        durable_name=queue.name,
        filter_subjects=list(queue.filters),
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=queue.ack_wait,
        max_deliver=-1,
        max_ack_pending=-1,
        deliver_policy=api.DeliverPolicy.ALL if queue.start is None else api.DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=queue.start,
    )
