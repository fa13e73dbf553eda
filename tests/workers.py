"""Enrolled workers, for tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from schemas import workers
from schemas.events import WorkerDefined
from schemas.tokens import digest_of
from schemas.workers import Worker, WorkerSpec
from tests.support import T0


def token(name: str, letter: str = "o") -> str:
    """Return the one-time token of a worker."""
    return workers.token(name, letter * 43)


def worker(name: str = "rack-1", **given: Any) -> WorkerDefined:
    """Return the event that a worker is as said; without more it waits until it enrols itself."""
    fields: dict[str, Any] = {"labels": {}, "version": 1, "created_at": T0, "created_by": "admin"}
    fields |= {"expires_at": T0 + timedelta(hours=1), "token_digest": digest_of(token(name)), **given}
    made = Worker(id=name, name=name, **fields)
    return WorkerDefined(id=name, version=made.version, definition=made)


def spec_of(definition: Worker) -> WorkerSpec:
    return WorkerSpec(**{name: getattr(definition, name) for name in WorkerSpec.__struct_fields__})
