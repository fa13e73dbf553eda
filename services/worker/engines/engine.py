"""What an engine is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from schemas.base import Value
from schemas.events import BackupRequested
from services.worker.inspection import Inspection, Seen


class Progress(Value, frozen=True, kw_only=True):
    """How far a backup is, in bytes of source data and bytes written to the repository."""

    bytes_total: int
    bytes_read: int
    bytes_transferred: int

    @property
    def percent(self) -> int:
        return min(100, self.bytes_read * 100 // self.bytes_total) if self.bytes_total else 0


class Result(Value, frozen=True, kw_only=True):
    """A finished backup; `snapshot_ref` is where to find it, in the engine's own terms."""

    bytes_read: int
    bytes_transferred: int
    snapshot_ref: str


class BackupError(Exception):
    """A backup failed; the message says what, which thing, and what to do."""


Report = Callable[[Progress], None]


class Engine(Protocol):
    """Backs up one VM. Cancelling the task stops it, and nothing half-written stays visible.

    `report` is called at least once a second, from the event loop. Asking twice for the same backup gives the same
    result. Raises `BackupError`.

    Several attempts at one backup may be at work at once, as a worker that was thought dead may live: none of them
    spoils what another one has finished, and what one has finished any later one takes over as its own.
    """

    async def backup(self, request: BackupRequested, attempt: int, report: Report) -> Result: ...

    async def inspect(self, inspection: Inspection) -> Seen:
        """Look whether a repository and disks are there, and could be used. Nothing is read from them, or written."""
        ...

    async def discard(self, request: BackupRequested, *, keep: str | None) -> None:
        """Remove all that attempts at this backup have left, except the snapshot `keep`.

        For a backup that has ended; an attempt that is still at work finds that it cannot finish. Asking twice does
        nothing more. Raises `BackupError`.
        """
        ...
