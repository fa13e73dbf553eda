"""What services keep beside the log, in a key-value bucket: shortcuts and notes, never facts.

A checkpoint says from where on a service needs to read the log again (without one it reads all of it), and which stream
its position is on. A note says how a service is just now, for whoever shows health.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from nats.js import JetStreamContext, api
from nats.js.errors import BucketNotFoundError, KeyNotFoundError, NoKeysError
from nats.js.kv import KeyValue

from bus.stream import Placement
from schemas.base import Value

BUCKET = "FLOWS_CHECKPOINTS"
_STREAM = f"KV_{BUCKET}"  # what holds it


class Note(Value, frozen=True, kw_only=True):
    """What a service pinned up, and when, by the server's clock."""

    value: dict[str, Any]
    at: datetime


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


async def place(js: JetStreamContext, placement: Placement) -> None:
    """Bring the bucket to a placement."""
    await bucket(js)
    config = (await js.stream_info(_STREAM)).config
    if (wanted := placement.of(config)) != config:
        await js.update_stream(wanted)  # pyright: ignore[reportUnknownMemberType]


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


async def pin(js: JetStreamContext, key: str, note: Note) -> None:
    """Keep a note under a key; the one that was there is replaced."""
    await (await bucket(js)).put(key, msgspec.json.encode(note))


async def pinned(js: JetStreamContext, prefix: str) -> dict[str, Note]:
    """Return the notes whose keys begin with `prefix`."""
    store = await bucket(js)
    try:
        keys = [key for key in await store.keys() if key.startswith(prefix)]  # pyright: ignore[reportUnknownMemberType]
    except NoKeysError:
        return {}
    return {key: msgspec.json.decode((await store.get(key)).value or b"", type=Note) for key in keys}
