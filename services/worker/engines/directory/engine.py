"""The directory engine: disk images, compressed with zstd, in a folder; restorable with standard tools.

    <location>/<context_id>/<UTC time>-<backup id>/<disk_id>.zst
                                                   manifest.json

Everything is written under a temporary name beside it, `.partial-<backup id>-<attempt>`, fsynced and then renamed: a
half-written backup is never seen. The time is that of the request, so every attempt at a backup has the same name: what
one has finished the next one takes over, and neither can be renamed over the other. Who removes what:

    left by                                    removed by                              when
    an attempt, unfinished                     itself                                  it ends, however it does
    a worker that died in an attempt           the next attempt                        before it writes anything
    all attempts at a backup that did not      the worker whose report ended it, or    before it acknowledges
    end in success, finished folders too       else who gets its request next
    an attempt that was lost and comes late    its worker, once the backup has ended   it notices
    a removal that was interrupted             the next removal for the same backup

What is removed is renamed first. So an attempt that is thought dead and lives finds its folder gone as it renames it,
and cannot publish what is half removed. The VM's folder goes with the last thing in it.

Nobody is trusted with a path: what is read is what was opened and checked (`disks`), and what is written is written in
folders that are held open (`repository`). A finished backup is taken over only when all of it is there (`manifest`).
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import BinaryIO

import msgspec
import zstandard

from bus import process
from schemas.events import BackupRequested
from services.worker.engines.directory import disks, files, manifest, repository
from services.worker.engines.directory.disks import Source, chunks
from services.worker.engines.directory.manifest import DiskManifest, Manifest, Unfinished
from services.worker.engines.directory.repository import Repository
from services.worker.engines.engine import BackupError, Progress, Report, Result
from services.worker.inspection import Inspection, Seen

REPORT_EVERY = 0.5  # seconds
LEVEL = 3  # zstd's own default
THREADS = 1024  # backups at once, at most; a thread is made when all that there are have work


class DirectoryEngine:
    """Streams disk images into a folder, in a thread; zstd and SHA-256 run outside the interpreter's lock.

    `own`: folders and files of the engine itself, which are nobody's disk and no repository.
    """

    def __init__(self, own: Sequence[str] = ()) -> None:
        self._own = [os.path.realpath(path) for path in own]
        self._umask = process.umask()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="directory")

    async def backup(self, request: BackupRequested, attempt: int, report: Report) -> Result:
        loop = asyncio.get_running_loop()
        cancelled = threading.Event()

        def report_from_thread(progress: Progress) -> None:
            loop.call_soon_threadsafe(report, progress)

        def back_up() -> Result:
            try:
                with repository.opened(request, self._own, self._umask) as place:
                    if place is None:
                        raise BackupError(repository.missing(request))
                    return _Backup(request, attempt, place, self._own, report_from_thread, cancelled).run()
            except OSError as error:
                raise BackupError(files.explain(error, request)) from error

        work = loop.run_in_executor(self._threads, back_up)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            cancelled.set()
            while not work.done():  # it looks at the flag with every chunk, and removes what it wrote
                with suppress(asyncio.CancelledError):  # a time-out and a stop may both come
                    await asyncio.wait([work])
            work.exception() if not work.cancelled() else None
            raise

    async def inspect(self, inspection: Inspection) -> Seen:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._seen, inspection)

    def _seen(self, inspection: Inspection) -> Seen:
        problems = [one for vm in inspection.vms for one in disks.problems(inspection.request(vm), self._own)]
        return Seen(repository=repository.seen(inspection.request(), self._own, self._umask), disk_problems=problems)

    async def discard(self, request: BackupRequested, *, keep: str | None) -> None:
        def remove() -> None:
            try:
                with repository.opened(request, self._own, self._umask) as place:
                    if place is not None:
                        place.remove(keep=keep)
            except files.Refused:
                pass  # so was every attempt: nothing was written
            except OSError as error:
                raise BackupError(files.explain(error, request)) from error

        await asyncio.get_running_loop().run_in_executor(self._threads, remove)


class _Cancelled(Exception):
    """The backup is no longer wanted."""


class _Backup:
    """One attempt at one backup."""

    def __init__(
        self,
        request: BackupRequested,
        attempt: int,
        place: Repository,
        own: Sequence[str],
        report: Callable[[Progress], None],
        cancelled: threading.Event,
    ) -> None:
        self.request = request
        self.attempt = attempt
        self.repository = place
        self.own = own
        self.report = report
        self.cancelled = cancelled
        self.partial = f".partial-{request.backup_id}-{attempt}"
        self.total = 0
        self.read = 0
        self.written = 0
        self.reported_at = 0.0

    def run(self) -> Result:
        """Back up. Raises `BackupError` or `OSError`; leaves nothing behind when it does."""
        try:
            # a later attempt's is not ours to touch
            self.repository.remove_partials(before=self.attempt + 1)
            if (done := self._done_before()) is not None:
                return done
            self._check_cancelled()
            with disks.opened(self.request, self.own) as sources:  # all of them, before any byte is copied
                self.total = sum(source.opened.size for source in sources)
                folder = self.repository.make_partial(self.partial)
                try:
                    return self._copy(sources, folder)
                finally:
                    os.close(folder)
        finally:
            self.repository.remove_own(self.partial)

    def _done_before(self) -> Result | None:
        """Return the result of an earlier attempt that finished and whose report was lost."""
        with self.repository.finished() as folder:
            if folder is None:
                return None
            try:
                found = manifest.verified(self.request, folder, self._check_cancelled)
            except Unfinished as error:
                raise BackupError(
                    f"{self.snapshot_ref} is in the place of this backup, and is not it: {error}. "
                    "Look at it, and remove it"
                ) from error
        return Result(
            bytes_read=sum(disk.size_bytes for disk in found.disks),
            bytes_transferred=sum(disk.compressed_bytes for disk in found.disks),
            snapshot_ref=self.snapshot_ref,
        )

    @property
    def snapshot_ref(self) -> str:
        return str(self.repository.path / self.repository.final)

    def _copy(self, sources: Sequence[Source], folder: int) -> Result:
        started_at = datetime.now(UTC)
        copied = [self._copy_disk(source, folder) for source in sources]
        request = self.request
        made = Manifest(
            backup_id=request.backup_id,
            execution_id=request.execution_id,
            flow_id=request.flow_id,
            context_id=request.context_id,
            vm_name=request.vm_name,
            attempt=self.attempt,
            requested_at=request.requested_at,
            started_at=started_at,
            completed_at=datetime.now(UTC),
            disks=copied,
        )
        text = msgspec.json.format(msgspec.json.encode(made), indent=2)
        with _new_file(manifest.NAME, folder) as out:
            out.write(text + b"\n")
            _sync(out)
        os.fsync(folder)
        self._check_cancelled()
        try:
            self.repository.publish(self.partial)
        except OSError as error:
            # another attempt at the same backup was faster: what it wrote counts
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST} and (done := self._done_before()) is not None:
                return done
            raise
        return Result(bytes_read=self.read, bytes_transferred=self.written, snapshot_ref=self.snapshot_ref)

    def _copy_disk(self, source: Source, folder: int) -> DiskManifest:
        name = f"{source.disk.disk_id}.zst"
        digest = hashlib.sha256()
        with _new_file(name, folder) as out:
            compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
            already = self.written
            size = source.opened.size
            with compressor.stream_writer(out, size=size, closefd=False) as stream:
                for chunk in chunks(source.file, size):
                    self._check_cancelled()
                    digest.update(chunk)
                    stream.write(chunk)
                    self.read += len(chunk)
                    self.written = already + out.tell()
                    self._report()
            _sync(out)
            self.written = already + out.tell()
        return DiskManifest(
            disk_id=source.disk.disk_id,
            source=source.disk.path,
            file=name,
            size_bytes=size,
            compressed_bytes=self.written - already,
            sha256=digest.hexdigest(),
            changed_while_read=source.changed(),
        )

    def _check_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise _Cancelled

    def _report(self) -> None:
        now = time.monotonic()
        if now - self.reported_at >= REPORT_EVERY:
            self.reported_at = now
            self.report(Progress(bytes_total=self.total, bytes_read=self.read, bytes_transferred=self.written))


def _new_file(name: str, folder: int) -> BinaryIO:
    """Make a file in an open folder. Raises `OSError` when anything has its name."""
    return os.fdopen(os.open(name, files.NEW_FILE, files.FILE_MODE, dir_fd=folder), "wb")


def _sync(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())
