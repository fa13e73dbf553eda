"""What the notifier's tests share: definitions, ends of executions, and a notifier that is quick."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from msgspec import structs

from bus.clock import now
from bus.log import Log
from schemas.base import Message
from schemas.events import BackupFailed, FlowCompleted, FlowStarted, NotificationDefined
from schemas.notifications import Notification
from services.heartbeat import Process
from services.hosting import host
from services.notifier.app import Notifier
from services.notifier.backoff import Backoff
from services.notifier.delivery import Deliveries
from services.notifier.sending import Pace
from services.notifier.targets import Allowed
from tests.services.conftest import Engine
from tests.support import BORN, T0, sent

QUICK = Pace(backoff=Backoff(first=0.02, longest=0.1), silence=1.5, look=0.1, retry=0.05)
PATIENT = structs.replace(QUICK, silence=30.0)  # a busy machine makes nobody look as if they had gone
LOCAL = Allowed.parse("localhost,127.0.0.0/8")


def rule(id: str = "rule-1", **given: Any) -> NotificationDefined:
    fields = {"name": id, "url": "http://localhost:9/hook", "secret_env": "HOOK_KEY", **BORN, **given}
    return NotificationDefined(id=id, version=fields["version"], definition=Notification(id=id, **fields))


def ended(execution_id: str, status: str = "error", *, flow_id: str = "flow-1", **given: Any) -> FlowCompleted:
    failed = {"error": 1}.get(status, 0)
    fields = {
        "started_at": T0,
        "completed_at": T0 + timedelta(minutes=5),
        "jobs_created": 1,
        "jobs_completed": 1 - failed,
        "jobs_failed": failed,
        "jobs_skipped": 0,
        "bytes_transferred": 0,
        "error_message": None,
        **given,
    }
    return FlowCompleted(flow_id=flow_id, execution_id=execution_id, status=status, **fields)


def quick(timeout: float = 5.0, pace: Pace = QUICK, **given: Any) -> Notifier:
    return Notifier(Deliveries(allowed=LOCAL, timeout=timeout), pace=pace, **given)


@asynccontextmanager
async def hosted(engine: Engine, *names: str, pace: Pace = QUICK) -> AsyncIterator[None]:
    """Run notifiers as processes of these names: each gives heartbeats in its own."""
    stop = asyncio.Event()
    url = engine.server.url
    tasks = [
        asyncio.create_task(host(quick(pace=pace, instance=name), url, stop, process=Process(instance=name)))
        for name in names
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def put(log: Log, *messages: Message) -> int:
    """Append messages as they are, and return the last one's sequence."""
    last = 0
    for message in messages:
        about = [getattr(message, name, "") for name in ("execution_id", "context_id", "id", "version")]
        id_ = "-".join([type(message).__name__, *map(str, about)])
        last = await log.publish_once(sent(message, id=id_, time=now()))
    return last


def started(execution_id: str, *, flow_id: str = "flow-1", jobs: int = 1) -> FlowStarted:
    return FlowStarted(
        flow_id=flow_id,
        execution_id=execution_id,
        flow_name=flow_id,
        flow_version=1,
        execution_type="scheduled",
        triggered_by="scheduler",
        occurrence=T0,
        overlap_policy="skip",
        repository_id="repo-1",
        policy_id=None,
        priority=0,
        max_concurrent_jobs=None,
        jobs=jobs,
        parts=1,
    )


def failure(execution_id: str, context_id: str, error: str = "no", *, flow_id: str = "flow-1") -> BackupFailed:
    backup = f"{execution_id}-{context_id}"
    return BackupFailed(
        flow_id=flow_id, execution_id=execution_id, backup_id=backup, context_id=context_id, attempt=1, error=error
    )
