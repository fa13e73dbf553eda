"""The outbox: outcomes of attempts that could not be reported, as the connection was cut, kept until they can be.

Each is a file, so that it outlives the process: two lines of a history, the request and the report. Whichever worker
uses the folder next reports it. As that is conditional on what the log holds, it does not matter how many do.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path

from bus import history
from bus.envelope import Envelope, Stored, encode
from bus.subjects import subject_of
from schemas.base import Value
from schemas.events import AttemptEvent, BackupRequested
from services.worker.record import SOURCE, Record

log = logging.getLogger(__name__)


class Kept(Value, frozen=True, kw_only=True):
    """The outcome of the attempt that a record is of, in its envelope."""

    record: Record
    sent: Envelope

    @property
    def name(self) -> str:
        """The name of its file: ids have no character in them that such a name may not have."""
        return f"{self.record.request.backup_id}-{self.record.attempt}.jsonl"


class Outbox:
    """Keeps outcomes in `folder`, or in memory alone when there is none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._kept: dict[str, Kept] = {}  # by name

    @property
    def kept(self) -> list[Kept]:
        return list(self._kept.values())

    async def open(self) -> None:
        """Take up what earlier processes have left."""
        if self._folder is not None:
            for kept in await asyncio.to_thread(_all_in, self._folder):
                self._kept[kept.name] = kept

    async def keep(self, record: Record, sent: Envelope) -> None:
        """Keep an outcome. What the disk does not take is kept in memory."""
        kept = Kept(record=record, sent=sent)
        self._kept[kept.name] = kept
        if self._folder is None:
            return
        try:
            await asyncio.to_thread(_write, self._folder, kept)
        except OSError as error:
            log.warning(
                "what became of backup %s is kept in memory alone: %s",
                record.request.backup_id,
                error,
                extra={"action": "outbox_failed", "backup_id": record.request.backup_id},
            )

    async def drop(self, kept: Kept) -> None:
        """Forget an outcome: it is on the log, or counts for nothing."""
        self._kept.pop(kept.name, None)
        if self._folder is not None:
            with suppress(OSError):
                await asyncio.to_thread((self._folder / kept.name).unlink, missing_ok=True)

    async def settle(self, record: Record) -> None:
        """Forget the outcome of a record's attempt, if it was kept."""
        for kept in self.kept:
            if kept.record is record:
                await self.drop(kept)


def _write(folder: Path, kept: Kept) -> None:
    """Write a file, all of it or nothing, for this user alone. Raises `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sent = kept.sent
    report = Stored(sequence=0, subject=subject_of(sent.data), stored_at=sent.time, body=encode(sent), envelope=sent)
    partial = folder / f".{kept.name}-{os.getpid()}"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(history.dump(kept.record.entry) + history.dump(report))
        out.flush()
        os.fsync(out.fileno())
    partial.replace(folder / kept.name)
    place = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def _all_in(folder: Path) -> list[Kept]:
    """Return what is kept in a folder. What cannot be read is left where it is, with a warning."""
    found: list[Kept] = []
    for file in sorted(folder.glob("*.jsonl")):
        try:
            with file.open("rb") as lines:
                request, report = history.load(lines)
            found.append(_kept(request, report))
        except (OSError, ValueError) as error:
            about = {"action": "outbox_unreadable"}
            log.warning("%s holds no outcome of a backup, and is left alone: %s", file, error, extra=about)
    return found


def _kept(entry: object, report: object) -> Kept:
    """Return the outcome that two messages hold. Raises `ValueError`."""
    if isinstance(entry, Stored) and isinstance(report, Stored):
        request, outcome = entry.envelope.data, report.envelope.data
        if isinstance(request, BackupRequested) and isinstance(outcome, AttemptEvent):
            worker = report.envelope.source.removeprefix(SOURCE)
            return Kept(record=Record(entry, request, worker, outcome.attempt), sent=report.envelope)
    raise ValueError("a request and what became of it are expected")
