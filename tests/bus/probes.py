"""Connections that ask what a user of NATS may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client

from bus.address import parse_url
from bus.server import Server


class Probe(Client):
    """A connection that notes what it is not permitted, and goes on."""

    denied: list[str]


@asynccontextmanager
async def probe(server: Server, user: str, url: str | None = None) -> AsyncIterator[Probe]:
    """Connect as a user. `url`: with other credentials than those of the server's own users."""
    client = Probe()
    client.denied = []

    async def failed(error: Exception) -> None:
        client.denied.append(str(error))

    address = parse_url(url or server.url)
    await client.connect(
        address.servers, **address.of(user), inbox_prefix=f"_INBOX.{user}", error_cb=failed, connect_timeout=5
    )
    try:
        yield client
    finally:
        await client.close()


async def denied(client: Probe, subject: str, body: bytes = b"") -> bool:
    """Publish without waiting for a reply, and tell whether the server does not permit it."""
    before = len(client.denied)
    await client.publish(subject, body)
    return await _denied_since(client, before)


async def may_not_subscribe(client: Probe, subject: str) -> bool:
    before = len(client.denied)
    await client.subscribe(subject)
    return await _denied_since(client, before)


async def _denied_since(client: Probe, before: int) -> bool:
    for _ in range(2):  # the first one may overtake what waits to be sent
        await client.flush(10)
    return len(client.denied) > before
