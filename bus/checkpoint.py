"""Checkpoints: from where on a service needs to read the log again. A shortcut, never a fact: without one it reads all.

They are kept beside the log, in a key-value bucket, and each says which stream its position is on.
"""

from __future__ import annotations

import msgspec
from nats.js import JetStreamContext, api
from nats.js.errors import BucketNotFoundError, KeyNotFoundError
from nats.js.kv import KeyValue

from schemas.base import Value

BUCKET = "FLOWS_CHECKPOINTS"


class Checkpoint(Value, frozen=True, kw_only=True):
    """All that was under way up to `position` is over. `created`: the stream's creation time."""

    created: str
    position: int


async def bucket(js: JetStreamContext) -> KeyValue:
    """Return the bucket, made when it is not there."""
    try:
        return await js.key_value(BUCKET)
    except BucketNotFoundError:
        config = api.KeyValueConfig(bucket=BUCKET, history=1, storage=api.StorageType.FILE)
        return await js.create_key_value(config)  # pyright: ignore[reportUnknownMemberType]


async def load(js: JetStreamContext, name: str, *, created: str) -> int:
    """Return a service's position on the stream that was created then; 0 when there is none for it."""
    try:
        entry = await (await bucket(js)).get(name)
        found = msgspec.json.decode(entry.value or b"", type=Checkpoint)
    except (KeyNotFoundError, msgspec.MsgspecError):
        return 0
    return found.position if found.created == created else 0


async def save(js: JetStreamContext, name: str, *, created: str, position: int) -> None:
    """Keep a service's position on the stream that was created then."""
    checkpoint = Checkpoint(created=created, position=position)
    await (await bucket(js)).put(name, msgspec.json.encode(checkpoint))
