"""Enrolled workers against a real server, as the part `setup` vouches for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from bus.clock import now
from bus.closing import close_connections
from bus.log import Log
from bus.server import CREDENTIALS, Server, issuer_in
from schemas.tokens import digest_of
from schemas.workers import user_of
from services.heartbeat import Process
from services.hosting import host
from services.setup.app import Setup
from services.setup.authentication import Authentication
from services.setup.revocation import Revocation
from services.worker.app import Worker
from tests.support import T0, sent
from tests.workers import worker as defined

SECRET = "x" * 43


def vouching(server: Server) -> Setup:
    """Return a set-up that vouches for enrolled workers."""
    issuer = issuer_in(server.folder / CREDENTIALS)
    closing = partial(close_connections, server.url)
    return Setup(authentication=Authentication(issuer, now), revocation=Revocation(closing))


async def enrol(log: Log, name: str, **given: Any) -> None:
    """Put a worker on the log as it is then. `given`: fields that are others; without more it is enrolled."""
    fields = {"digest": digest_of(SECRET), "enrolled_at": T0, **given}
    said = defined(name, **fields)
    await log.publish_once(sent(said, id=f"{name}-{said.version}"))


def url_of(server: Server, name: str, secret: str = SECRET) -> str:
    return f"nats://{user_of(name)}:{secret}@{server.host}:{server.port}"


@asynccontextmanager
async def running(server: Server, name: str, service: Worker | None = None) -> AsyncIterator[asyncio.Task[None]]:
    """Run an enrolled worker; the task ends when it fails."""
    stop, started = asyncio.Event(), asyncio.Event()
    service = service or Worker(enrolment=name)
    process = Process(enrolment=name)
    url = url_of(server, name)
    hosted = host(service, url, stop, process=process, on_start=lambda _: started.set())
    task = asyncio.create_task(hosted)
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        yield task
    finally:
        stop.set()
        if not task.done():
            await task


@asynccontextmanager
async def set_up(server: Server) -> AsyncIterator[None]:
    """Run a set-up that vouches for enrolled workers."""
    stop, started = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(host(vouching(server), server.url, stop, on_start=lambda _: started.set()))
    await asyncio.wait_for(started.wait(), 20)
    try:
        yield
    finally:
        stop.set()
        await task
