"""Workers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from schemas.base import Value
from services.health import State


class WorkerResponse(Value, frozen=True, kw_only=True):
    """A worker that is there. `name`: its host and process; `holding`: how many backups it is at work on.

    `slots`: how many backups it makes at a time, 0 when it is `stopping`; `free`: how many more it would take now.
    `version`: of the engine, null while its process has given no heartbeat. `last_seen_at`: by the log's clock.
    """

    name: str
    state: State | Literal["stopping"]
    labels: dict[str, str]
    engines: list[str]
    slots: int
    free: int
    holding: int
    version: str | None
    last_seen_at: datetime


class WorkerList(Value, frozen=True, kw_only=True):
    workers: list[WorkerResponse]
