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
    `enrolment`: the name that it is enrolled by, which its own name begins with; null: it has no identity of its own.
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
    enrolment: str | None = None


class EnrolmentResponse(Value, frozen=True, kw_only=True):
    """A worker that is enrolled, may enrol itself, or could once. `id`: its name.

    `status`: `waiting` until `expires_at` for the worker to enrol itself with its one-time token, `expired` if it has
    not done so, `enrolled`, or `revoked`. `present`: whether it is there, as one of `workers`.
    """

    id: str
    name: str
    labels: dict[str, str]
    status: Literal["waiting", "expired", "enrolled", "revoked"]
    present: bool
    created_at: datetime
    created_by: str
    expires_at: datetime
    enrolled_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None


class CreatedEnrolment(EnrolmentResponse, frozen=True, kw_only=True):
    """A worker that may enrol itself now. `token` is what it needs for that, once: nobody can show it again."""

    token: str


class PendingEnrolment(Value, frozen=True, kw_only=True):
    """A worker that the log will have as soon as a registry runs: its outcome will be at the command's address.

    `token` enrols nobody before; it is not shown again.
    """

    command_id: str
    status: str
    message: str
    token: str


class EnrolledResponse(Value, frozen=True, kw_only=True):
    """Who a worker is from here on. `nats_url`: where it reaches the log; null: the API has not been told."""

    id: str
    name: str
    labels: dict[str, str]
    nats_url: str | None


class WorkerList(Value, frozen=True, kw_only=True):
    """`workers`: those that are there. `enrolments`: all that are or were enrolled, or may be, newest first."""

    workers: list[WorkerResponse]
    enrolments: list[EnrolmentResponse] = []
