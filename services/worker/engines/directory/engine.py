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
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
import zstandard

from schemas.base import Value
from schemas.definitions import Disk
from schemas.events import BackupRequested
from services.worker.engines.engine import BackupError, Progress, Report, Result

CHUNK = 1 << 20  # bytes read, hashed and compressed at once
REPORT_EVERY = 0.5  # seconds
LEVEL = 3  # zstd's own default
THREADS = 1024  # backups at once, at most; a thread is made when all that there are have work
_ZEROS = bytes(CHUNK)


class DiskManifest(Value, frozen=True, kw_only=True):
    """One disk image: `sha256` is of the source's bytes, holes included; sizes are bytes."""

    disk_id: str
    source: str
    file: str
    size_bytes: int
    compressed_bytes: int
    sha256: str
    changed_while_read: bool


class Manifest(Value, frozen=True, kw_only=True):
    """What a backup folder holds; `manifest.json`."""

    format: int = 1
    engine: str = "directory"
    compression: str = "zstd"
    backup_id: str
    execution_id: str
    flow_id: str
    context_id: str
    vm_name: str
    attempt: int
    requested_at: datetime
    started_at: datetime
    completed_at: datetime
    disks: list[DiskManifest]


class DirectoryEngine:
    """Streams disk images into a folder, in a thread; zstd and SHA-256 run outside the interpreter's lock."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="directory")

    async def backup(self, request: BackupRequested, attempt: int, report: Report) -> Result:
        loop = asyncio.get_running_loop()
        cancelled = threading.Event()

        def report_from_thread(progress: Progress) -> None:
            loop.call_soon_threadsafe(report, progress)

        work = loop.run_in_executor(self._threads, _Backup(request, attempt, report_from_thread, cancelled).run)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            cancelled.set()
            await asyncio.wait([work])  # it looks at the flag with every chunk, and removes what it wrote
            work.exception() if not work.cancelled() else None
            raise

    async def discard(self, request: BackupRequested, *, keep: str | None) -> None:
        def remove() -> None:
            try:
                _remove(request, keep=keep)
            except OSError as error:
                raise BackupError(_explain(error, request)) from error

        await asyncio.get_running_loop().run_in_executor(self._threads, remove)


class _Cancelled(Exception):
    """The backup is no longer wanted."""


class _Backup:
    """One attempt at one backup."""

    def __init__(
        self, request: BackupRequested, attempt: int, report: Callable[[Progress], None], cancelled: threading.Event
    ) -> None:
        self.request = request
        self.attempt = attempt
        self.report = report
        self.cancelled = cancelled
        self.folder = _folder(request)
        stamp = request.requested_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        self.final = self.folder / f"{stamp}-{request.backup_id}"
        self.partial = self.folder / f".partial-{request.backup_id}-{attempt}"
        self.total = 0
        self.read = 0
        self.written = 0
        self.reported_at = 0.0

    def run(self) -> Result:
        """Back up. Raises `BackupError`; leaves nothing behind when it does."""
        try:
            # a later attempt's is not ours to touch
            _remove_partials(self.request, before=self.attempt + 1)
            if (done := self._done_before()) is not None:
                return done
            self._prepare()
            return self._copy()
        except OSError as error:
            raise BackupError(_explain(error, self.request)) from error
        finally:
            shutil.rmtree(self.partial, ignore_errors=True)
            _remove_if_empty(self.folder)

    def _done_before(self) -> Result | None:
        """Return the result of an earlier attempt that finished and whose report was lost."""
        manifest_file = self.final / "manifest.json"
        if not manifest_file.exists():
            return None
        manifest = msgspec.json.decode(manifest_file.read_bytes(), type=Manifest)
        return Result(
            bytes_read=sum(disk.size_bytes for disk in manifest.disks),
            bytes_transferred=sum(disk.compressed_bytes for disk in manifest.disks),
            snapshot_ref=str(self.final),
        )

    def _prepare(self) -> None:
        """Check everything that can be checked before any byte is copied."""
        request = self.request
        if not request.disks:
            raise BackupError(f"VM {request.vm_name!r} has no disks: add them to its definition")
        location = Path(request.location)
        if not location.is_dir():
            # not made here: a missing folder is most often a file system that is not mounted
            raise BackupError(f"the repository folder {location} does not exist: create or mount it")
        for disk in request.disks:
            path = Path(disk.path)
            if not path.is_file():
                what = "is not a file" if path.exists() else "does not exist"
                raise BackupError(f"disk {disk.disk_id!r} of VM {request.vm_name!r}: {path} {what}")
            self.total += path.stat().st_size
        while not self.partial.exists():
            self.folder.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # somebody has just removed the VM's folder, as it was empty
                self.partial.mkdir()

    def _copy(self) -> Result:
        started_at = datetime.now(UTC)
        disks = [self._copy_disk(disk) for disk in self.request.disks]
        request = self.request
        manifest = Manifest(
            backup_id=request.backup_id,
            execution_id=request.execution_id,
            flow_id=request.flow_id,
            context_id=request.context_id,
            vm_name=request.vm_name,
            attempt=self.attempt,
            requested_at=request.requested_at,
            started_at=started_at,
            completed_at=datetime.now(UTC),
            disks=disks,
        )
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        with (self.partial / "manifest.json").open("xb") as out:
            out.write(text + b"\n")
            _sync(out)
        _sync_folder(self.partial)
        self._check_cancelled()
        try:
            self.partial.rename(self.final)
        except OSError as error:
            # another attempt at the same backup was faster: what it wrote counts
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST} and (done := self._done_before()) is not None:
                return done
            raise
        _sync_folder(self.folder)
        return Result(bytes_read=self.read, bytes_transferred=self.written, snapshot_ref=str(self.final))

    def _copy_disk(self, disk: Disk) -> DiskManifest:
        target = self.partial / f"{disk.disk_id}.zst"
        digest = hashlib.sha256()
        with Path(disk.path).open("rb", buffering=0) as source, target.open("xb") as out:
            before = os.fstat(source.fileno())
            compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
            already = self.written
            with compressor.stream_writer(out, size=before.st_size, closefd=False) as stream:
                for chunk in _chunks(source, before.st_size):
                    self._check_cancelled()
                    digest.update(chunk)
                    stream.write(chunk)
                    self.read += len(chunk)
                    self.written = already + out.tell()
                    self._report()
            _sync(out)
            self.written = already + out.tell()
            after = os.fstat(source.fileno())
        return DiskManifest(
            disk_id=disk.disk_id,
            source=disk.path,
            file=target.name,
            size_bytes=before.st_size,
            compressed_bytes=self.written - already,
            sha256=digest.hexdigest(),
            changed_while_read=(before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size),
        )

    def _check_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise _Cancelled

    def _report(self) -> None:
        now = time.monotonic()
        if now - self.reported_at >= REPORT_EVERY:
            self.reported_at = now
            self.report(Progress(bytes_total=self.total, bytes_read=self.read, bytes_transferred=self.written))


def _folder(request: BackupRequested) -> Path:
    """Return where the backups of a VM are."""
    return Path(request.location) / request.context_id


def _remove(request: BackupRequested, *, keep: str | None) -> None:
    """Remove what is named by a backup's id, unfinished and finished, except the snapshot `keep`."""
    folder = _folder(request)
    _remove_partials(request)
    # after those: what an attempt has renamed meanwhile is found here
    finished = re.compile(rf"\d{{8}}T\d{{6}}Z-{re.escape(request.backup_id)}")
    for path in _listed(folder, finished):
        if str(path) != keep:
            _remove_folder(path, request)
    _remove_if_empty(folder)


def _remove_partials(request: BackupRequested, *, before: int | None = None) -> None:
    """Remove what attempts have left unfinished: those with a number less than `before`, or all of them."""
    partial = re.compile(rf"\.(?:partial|removed)-{re.escape(request.backup_id)}-(\d+)")
    for path in _listed(_folder(request), partial):
        if before is None or path.name.startswith(".removed-") or int(path.name.rpartition("-")[2]) < before:
            _remove_folder(path, request)


def _listed(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove_folder(path: Path, request: BackupRequested) -> None:
    """Remove a folder whole: it is gone under its name before any of its files is."""
    removed = path.with_name(f".removed-{request.backup_id}-{time.monotonic_ns()}")
    try:
        path.rename(removed)
    except FileNotFoundError:
        return  # another one removes it, or has finished it
    _sync_folder(path.parent)
    shutil.rmtree(removed, ignore_errors=True)
    if removed.exists():  # otherwise another one was faster
        shutil.rmtree(removed)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _chunks(source: BinaryIO, size: int) -> Iterator[bytes | memoryview]:
    """Yield the first `size` bytes of a file in chunks. Holes of a sparse file come as zeros, without being read."""
    buffer = bytearray(CHUNK)
    descriptor = source.fileno()
    position = 0
    while position < size:
        data_from, data_to = _next_data(descriptor, position, size)
        while position < data_from:
            length = min(CHUNK, data_from - position)
            yield _ZEROS[:length] if length < CHUNK else _ZEROS
            position += length
        source.seek(position)
        while position < data_to:
            length = source.readinto(memoryview(buffer)[: min(CHUNK, data_to - position)])  # type: ignore[attr-defined]
            if not length:
                raise BackupError(f"{source.name} became shorter while it was read: {position:,} of {size:,} bytes")
            yield memoryview(buffer)[:length]
            position += length


def _next_data(descriptor: int, position: int, size: int) -> tuple[int, int]:
    """Return where the next data begins and ends; both are `size` when only a hole is left."""
    try:
        start = os.lseek(descriptor, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size, size
        if error.errno == errno.EINVAL:  # a file system that does not know of holes
            return position, size
        raise
    return min(start, size), min(os.lseek(descriptor, start, os.SEEK_HOLE), size)


def _sync(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: OSError, request: BackupRequested) -> str:
    """Return what an operator can act on."""
    place = error.filename or request.location
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            what = (
                "the worker may not write there" if _inside(place, request.location) else "the worker may not read it"
            )
            return f"{place}: {what} ({os.strerror(error.errno)})"
        case errno.ENOSPC | errno.EDQUOT:
            return f"the repository folder {request.location} is full: free space, or choose another repository"
        case _:
            return f"{place}: {error.strerror or error}"


def _inside(place: str, folder: str) -> bool:
    return Path(place).is_relative_to(folder)
