"""Workers on a real server, and what is said to them. The lease is two seconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
from msgspec import structs

from bus import setup, stream
from bus.clock import now
from bus.envelope import Envelope
from bus.log import Log
from bus.stream import WORKER_QUEUE
from bus.tasks import cancel_and_wait
from schemas.base import Message
from schemas.events import (
    BackupRequested,
    BackupStarted,
)
from services.consuming import Delivery, Outcome
from services.hosting import Subscribe
from services.worker import app, presence
from services.worker.app import Worker
from services.worker.engines.engine import Report, Result
from services.worker.record import Record
from services.worker.status import key_of
from tests.services.conftest import Engine
from tests.support import T0, eventually, sent

LEASE = 2.0


@pytest.fixture(autouse=True)
def lease(monkeypatch: pytest.MonkeyPatch) -> None:
    short = structs.replace(WORKER_QUEUE, ack_wait=LEASE)
    monkeypatch.setattr(stream, "WORKER_QUEUE", short)
    monkeypatch.setattr(setup, "QUEUES", (short,))
    monkeypatch.setattr(app, "WORKER_QUEUE", short)
    monkeypatch.setattr(presence, "STATUS_PAUSE", 0.1)


class Gate:
    """An engine that works until the gate is opened, and counts who is at work."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun: list[int] = []
        self.at_work: Counter[str] = Counter()
        self.most = 0
        self.discarded: list[tuple[str, str | None]] = []

    async def backup(self, request: BackupRequested, attempt: int, report: Report) -> Result:
        self.begun.append(attempt)
        self.at_work[request.backup_id] += 1
        self.most = max(self.most, self.at_work[request.backup_id])
        try:
            await self.open.wait()
        finally:
            self.at_work[request.backup_id] -= 1
        return Result(bytes_read=1, bytes_transferred=1, snapshot_ref=f"gate:{attempt}")

    async def discard(self, request: BackupRequested, *, keep: str | None) -> None:
        self.discarded.append((request.backup_id, keep))


class Observed(Worker):
    """A worker whose deliveries a test can see, and before whose reports it can say something."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.deliveries: list[Delivery] = []
        self.before: dict[type[Message], list[Message]] = {}
        self.through: Log | None = None  # how that is said, when it is not what a worker may say

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        await super().open(log, subscribe)
        append = self._reports.append

        async def observed(record: Record, event: Envelope) -> None:
            for message in self.before.pop(type(event.data), []):
                await say(self.through or log, message)
            await append(record, event)

        self._reports.append = observed  # type: ignore[method-assign]

    async def handle(self, delivery: Delivery) -> Outcome:
        self.deliveries.append(delivery)
        return await super().handle(delivery)


ABOUT: dict[str, Any] = {"flow_id": "flow", "execution_id": "execution", "backup_id": "backup-1", "context_id": "vm"}


_said = count()


async def say(log: Log, *messages: Message) -> int:
    last = 0
    for message in messages:
        last = await log.publish_once(sent(message, id=f"said-{next(_said)}", time=now()))
    return last


def request(**given: Any) -> BackupRequested:
    fields = {
        **ABOUT,
        "vm_name": "vm",
        "disks": [],
        "repository_id": "repository",
        "engine": "simulated",
        "location": "/x",
        "config": {},
        "backup_type": "auto",
        "retry_attempts": 0,
        "retry_delay_seconds": 1,
        "timeout_seconds": None,
        "requested_at": T0,
        **given,
    }
    return BackupRequested(**fields)


def started(attempt: int, worker: str) -> BackupStarted:
    return BackupStarted(**ABOUT, attempt=attempt, worker=worker)


def claim(*holding: str, position: int = 10**9) -> dict[str, Any]:
    return {"slots": 1, "holding": list(holding), "engines": ["simulated"], "position": position}


@contextlib.asynccontextmanager
async def living(engine: Engine, worker: str, *holding: str) -> AsyncIterator[None]:
    """Another worker, as far as notes say."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(LEASE / 8)  # not a wait: how often it does so
            await engine.log.put_status(key_of(worker), claim(*holding))

    await engine.log.put_status(key_of(worker), claim(*holding))
    task = asyncio.create_task(renew())
    try:
        yield
    finally:
        await cancel_and_wait(task)


async def acknowledged(engine: Engine, sequence: int) -> None:
    async def there() -> bool:
        return await engine.log.acknowledged(WORKER_QUEUE) >= sequence

    await eventually(there, why=f"request {sequence} to be acknowledged")
