"""What services keep beside the log, in a key-value bucket: checkpoints and status, never facts.

A checkpoint is the position from which a service reads the log when it starts (without one it reads all of it), and the
stream that the position belongs to. A status is how a service is now: for health checks, and for other instances.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import field
from nats.js import JetStreamContext, api
from nats.js.errors import KeyNotFoundError, NotFoundError
from nats.js.kv import KeyValue

from bus.stream import Placement
from schemas.base import Value

BUCKET = "FLOWS_CHECKPOINTS"
_STREAM = f"KV_{BUCKET}"  # what holds it
_KEYS = f"$KV.{BUCKET}."  # what subjects begin with before their keys


class Status(Value, frozen=True, kw_only=True):
    """What a service has published of itself, and when, by the server's clock."""

    value: dict[str, Any]
    at: datetime


class Checkpoint(Value, frozen=True, kw_only=True):
    """All that was under way up to `position` is over. `created`: the stream's creation time.

    `processed`: how many ids had been processed by then. The ids are in the parts beside it.
    """

    created: str
    position: int
    processed: int = field(default=0, name="answered")


async def bucket(js: JetStreamContext) -> KeyValue:
    """Return the bucket. Raises `BucketNotFoundError` when nobody has declared it."""
    return await js.key_value(BUCKET)


async def declare(js: JetStreamContext, placement: Placement) -> None:
    """Create the bucket, or bring it to a placement."""
    try:
        config = (await js.stream_info(_STREAM)).config
    except NotFoundError:
        new = api.KeyValueConfig(bucket=BUCKET, history=1, storage=api.StorageType.FILE)
        await js.create_key_value(new)  # pyright: ignore[reportUnknownMemberType]
        config = (await js.stream_info(_STREAM)).config
    if (wanted := placement.of(config.evolve(allow_direct=False))) != config:  # pyright: ignore[reportUnknownMemberType]
        await js.update_stream(wanted)  # pyright: ignore[reportUnknownMemberType]


async def load(js: JetStreamContext, name: str, *, created: str) -> Checkpoint:
    """Return a service's checkpoint on the stream that was created then; one at 0 when there is none for it."""
    none = Checkpoint(created=created, position=0)
    try:
        entry = await (await bucket(js)).get(name)
        found = msgspec.json.decode(entry.value or b"", type=Checkpoint)
    except (KeyNotFoundError, msgspec.MsgspecError):
        return none
    return found if found.created == created else none


async def save(js: JetStreamContext, name: str, checkpoint: Checkpoint) -> None:
    """Keep a service's checkpoint."""
    await (await bucket(js)).put(name, msgspec.json.encode(checkpoint))


async def load_part(js: JetStreamContext, name: str, number: int) -> bytes:
    """Return part `number` of what a service keeps beside its checkpoint, empty when it is not there."""
    try:
        return (await (await bucket(js)).get(f"{name}.part.{number}")).value or b""
    except KeyNotFoundError:
        return b""


async def save_part(js: JetStreamContext, name: str, number: int, data: bytes) -> None:
    """Keep a part of what a service keeps beside its checkpoint; it must fit into one message."""
    await (await bucket(js)).put(f"{name}.part.{number}", data)


async def put_status(js: JetStreamContext, key: str, status: Status) -> None:
    """Store a status under a key, instead of the one that was there."""
    await (await bucket(js)).put(key, msgspec.json.encode(status))


async def statuses(js: JetStreamContext, prefix: str) -> dict[str, Status]:
    """Return every status whose key begins with `prefix`."""
    store = await bucket(js)
    # not `store.keys()`: it says now and then that there are none, when all are on their way already
    info = await js.stream_info(_STREAM, subjects_filter=f"{_KEYS}>")
    names = (subject.removeprefix(_KEYS) for subject in info.state.subjects or {})
    keys = [name for name in names if name.startswith(prefix)]
    found = {key: await _status(store, key) for key in keys}
    return {key: status for key, status in found.items() if status is not None}  # some may have been deleted since


async def get_status(js: JetStreamContext, key: str) -> Status | None:
    """Return the status under a key, None when there is none."""
    return await _status(await bucket(js), key)


async def _status(store: KeyValue, key: str) -> Status | None:
    try:
        return msgspec.json.decode((await store.get(key)).value or b"", type=Status)
    except (KeyNotFoundError, msgspec.MsgspecError):
        return None


async def delete_status(js: JetStreamContext, key: str) -> None:
    """Delete a status; no trace of it stays in the bucket."""
    await (await bucket(js)).purge(key)
