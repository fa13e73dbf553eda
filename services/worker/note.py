"""What each worker pins up beside the log every few seconds: that it is alive, and which backups it holds. Pure.

A note is no fact. It only keeps a worker from taking what another one is at work on; that nothing counts twice is the
log's doing. Ages are by the server's clock alone, so they do not depend on any worker's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

import msgspec

from bus.checkpoint import Note
from schemas.base import Value
from services.worker.domain import Attempt

PREFIX = "worker."


class WorkerNote(Value, frozen=True, kw_only=True):
    """One worker. `position`: how far on the log its reports have been read when it said what it holds."""

    slots: int
    holding: list[str]  # ids of backups
    engines: list[str]
    position: int


def key_of(worker: str) -> str:
    """Return the key of a worker's note."""
    return PREFIX + re.sub(r"[^-\w.]", "_", worker, flags=re.ASCII)


def silent_in(attempt: Attempt, backup_id: str, note: Note | None, *, now: datetime, lease: float) -> float:
    """Return in how many seconds the worker that makes an attempt will have been silent for longer than its lease.

    0 or less: it is silent already, or says itself that it does not hold the backup.
    """
    said = None if note is None else _decoded(note)
    if note is None or said is None:
        return 0.0
    if said.position >= attempt.sequence and backup_id not in said.holding:
        return 0.0
    return lease - (now - note.at).total_seconds()


def held(notes: Mapping[str, Note], *, now: datetime, lease: float) -> frozenset[str]:
    """Return the ids of the backups that some live worker holds."""
    live = (_decoded(note) for note in notes.values() if (now - note.at).total_seconds() <= lease)
    return frozenset(backup_id for said in live if said is not None for backup_id in said.holding)


def outdated(notes: Mapping[str, Note], *, now: datetime, keep: float) -> list[str]:
    """Return the keys of notes that nobody has renewed for `keep` seconds."""
    return [key for key, note in notes.items() if (now - note.at).total_seconds() > keep]


def _decoded(note: Note) -> WorkerNote | None:
    try:
        return msgspec.convert(note.value, WorkerNote)
    except msgspec.ValidationError:
        return None
