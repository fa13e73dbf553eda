"""Applies the placement settings to the log and to the bucket beside it, before a process uses them."""

from __future__ import annotations

from nats.errors import Error as NatsError

from bus import checkpoint
from bus.connection import connect
from bus.errors import Unavailable
from bus.stream import Placement, declare


async def place(url: str, placement: Placement) -> None:
    """Bring the stream and the key-value bucket to a placement. Raises `Unavailable` when there is no room for it."""
    client = await connect(url, "flows-placement")
    try:
        js = client.jetstream()  # pyright: ignore[reportUnknownMemberType]
        await declare(js, placement)
        await checkpoint.place(js, placement)
    except (TimeoutError, NatsError) as error:
        raise Unavailable(
            f"the log cannot be kept on {placement.replicas or 'any'} servers"
            f"{' with the tags ' + ', '.join(placement.tags) if placement.tags else ''}: {error or 'no reply'}. "
            "Are enough servers up? See FLOWS_REPLICAS and FLOWS_PLACEMENT_TAGS"
        ) from error
    finally:
        await client.close()
