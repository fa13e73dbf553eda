"""Restoration: an empty log is filled from the second copy that the tables hold, message by message, in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy import func, select, update

from bus.log import Log
from bus.stream import WORKER_QUEUE
from bus.subjects import STREAM
from schemas import tables as t
from services import database

TOGETHER = 500  # messages in one batch


async def restore(log: Log, url: str) -> AsyncIterator[tuple[int, int]]:
    """Fill the log and have the tables belong to it; yield (sequence, last one) now and then.

    Every message gets the sequence that it had; what had expired or was pruned leaves a gap. Raises `ValueError` when
    the log is not empty, or a worker reads its queue.
    """
    identity = await log.identity()
    if identity.last_sequence:
        raise ValueError(f"the log is not empty: it holds messages up to {identity.last_sequence:,}")
    if (await log.queue(WORKER_QUEUE)).listeners:
        raise ValueError("a worker is running: stop all services, as half a log must not be acted on")
    tables = database.writer(url)
    try:
        async with tables.connect() as connection:
            last = (await connection.execute(select(func.max(t.events.c.sequence)))).scalar() or 0
        position = 0
        while position < last:
            async with tables.connect() as connection:
                some = select(t.events.c.sequence, t.events.c.subject, t.events.c.body)
                some = some.where(t.events.c.sequence > position).order_by(t.events.c.sequence).limit(TOGETHER)
                rows = (await connection.execute(some)).all()
            messages = [(int(sequence), str(subject), str(body).encode()) for sequence, subject, body in rows]
            position = await log.restore(messages, after=position)
            yield position, last
        created = (await log.identity()).created
        async with tables.begin() as connection:
            adopted = update(t.projection).where(t.projection.c.stream == STREAM).values(stream_created=created)
            await connection.execute(adopted)
    finally:
        await tables.dispose()
