"""Closing connections of users that may not be there any more: by the one user of the system account."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import msgspec

from bus import replies
from bus.connection import connect
from bus.identities import CLOSE, CONNECTIONS, SYSTEM
from bus.refusals import unavailable
from schemas.base import Value

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds for all servers to say whose connections they have
LULL = 0.3  # seconds after the last one that did
MOST = 100_000  # connections of one server


class _Connection(Value, frozen=True, kw_only=True):
    cid: int
    authorized_user: str = ""


class _Connections(Value, frozen=True, kw_only=True):
    connections: list[_Connection] = []


class _Server(Value, frozen=True, kw_only=True):
    id: str


class _Reply(Value, frozen=True, kw_only=True):
    server: _Server
    data: _Connections = _Connections()


async def close_connections(url: str, users: Collection[str]) -> int:
    """Close all connections of these users, on all servers, and return how many there were. Raises `Unavailable`.

    What they are to be let in for again, they are asked about again.
    """
    client = await connect(url, SYSTEM, user=SYSTEM)
    closed = 0
    try:
        with unavailable("the servers"):
            wanted: dict[str, Any] = {"auth": True, "limit": MOST}
            found = await replies.request_many(
                client,
                CONNECTIONS,
                msgspec.json.encode(wanted),
                patience=PATIENCE,
                lull=LULL,
                enough=lambda _: False,
            )
            for body in found:
                reply = msgspec.json.decode(body, type=_Reply)
                for one in reply.data.connections:
                    if one.authorized_user in users:
                        close = CLOSE.format(server=reply.server.id)
                        await client.request(close, msgspec.json.encode({"cid": one.cid}))
                        closed += 1
    finally:
        await client.close()
    return closed
