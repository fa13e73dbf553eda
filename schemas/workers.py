"""Enrolled workers: their definition on the log, and what one-time tokens and their users of NATS look like. Pure."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from schemas.base import ID_PATTERN, LABEL_KEY, Count, Id, Instant, Text, Value
from schemas.definitions import Digest

MOST_LABELS = 8  # of an enrolled worker: it may serve every subset of them, and each is a pool
PREFIX = "flows-worker_"  # by which people, and scanners for secrets, recognise a one-time token
USER = "worker-"  # begins the names of enrolled workers' users of NATS
ACTOR = "worker:"  # begins the names of enrolled workers in the audit log, and of no token
LONGEST = 512  # characters of a token that are looked at

_TOKEN = re.compile(rf"{PREFIX}([A-Za-z0-9_-]{{1,64}})\.[0-9A-Za-z_-]{{43}}")
_NAME = re.compile(ID_PATTERN)
_Label = Annotated[str, Meta(pattern=LABEL_KEY)]
EnrolledLabels = Annotated[
    dict[_Label, _Label],
    Meta(max_length=MOST_LABELS, description="the labels of an enrolled worker", examples=[{"site": "a"}]),
]


class WorkerSpec(Value, frozen=True, kw_only=True):
    """A worker that may enrol itself, once, until `expires_at`.

    `token_digest`: the SHA-256 of the one-time token, which is nowhere itself.
    """

    name: Id
    labels: EnrolledLabels
    token_digest: Digest
    expires_at: Instant


class Worker(WorkerSpec, frozen=True, kw_only=True):
    """A worker as the log has it: its id is its name, which is used once. It is enrolled once, and revoked for ever.

    `digest`: the SHA-256 of the secret that the worker has made itself, and that is nowhere else.
    """

    id: Id
    version: Count
    created_at: Instant
    created_by: Text
    digest: Digest | None = None
    enrolled_at: Instant | None = None
    revoked_at: Instant | None = None
    revoked_by: Text | None = None


def token(name: str, randomness: str) -> str:
    """Return a one-time token. `randomness`: 32 random bytes in URL-safe base64, 43 characters."""
    return f"{PREFIX}{name}.{randomness}"


def named(text: str) -> str | None:
    """Return which worker a one-time token is for; None when it has not the shape of one."""
    found = _TOKEN.fullmatch(text)
    return None if found is None else found[1]


def user_of(name: str) -> str:
    """Return the user of NATS that an enrolled worker is."""
    return f"{USER}{name}"


def worker_of(user: str) -> str | None:
    """Return which enrolled worker a user of NATS is, None when it is none."""
    name = user.removeprefix(USER)
    return name if user.startswith(USER) and _NAME.search(name) else None
