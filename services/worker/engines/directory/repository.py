"""A VM's folder in a repository. All is done in folders that are held open, and no symlink in them is followed."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC
from pathlib import Path

from schemas.events import BackupRequested
from services import roots
from services.worker.engines.directory import files
from services.worker.engines.engine import BackupError
from services.worker.inspection import RepositoryState

DEEPEST = 16  # folders in each other that are removed; a backup has one


class Repository:
    """The folder of one VM, for one backup in it. `location` is the repository's, open; `umask` the process's own."""

    def __init__(self, request: BackupRequested, location: int, umask: int) -> None:
        self._location = location
        self._name = request.context_id
        self._backup = request.backup_id
        self._umask = umask
        self.path = Path(request.location, request.context_id)
        stamp = request.requested_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        self.final = f"{stamp}-{request.backup_id}"

    def state(self) -> RepositoryState:
        """Return how the repository's folder is."""
        space = os.fstatvfs(self._location)
        total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
        effective = os.access in os.supports_effective_ids
        writable = os.access(".", os.W_OK | os.X_OK, dir_fd=self._location, effective_ids=effective)
        problem = None
        if not writable:
            problem = f"the worker may not write in the repository folder {self.path.parent}"
        elif not free:
            problem = f"the repository folder {self.path.parent} is full: free space, or choose another repository"
        return RepositoryState(there=True, writable=writable, total_bytes=total, free_bytes=free, problem=problem)

    def make_partial(self, name: str) -> int:
        """Make a folder for an attempt, and the VM's when there is none; return it open."""
        while True:
            with suppress(FileExistsError):
                os.mkdir(self._name, files.FOLDER_MODE, dir_fd=self._location)
                os.fsync(self._location)
            with self._vm() as vm, suppress(FileNotFoundError):  # somebody has just removed it, as it was empty
                if vm is not None:
                    self._tighten(vm)
                    os.mkdir(name, files.FOLDER_MODE, dir_fd=vm)
                    return files.open_folder(name, dir_fd=vm, path=self.path / name)

    def publish(self, partial: str) -> None:
        """Give an attempt's folder the backup's name. Raises `OSError`: EEXIST or ENOTEMPTY when that is taken."""
        with self._vm() as vm:
            if vm is None:
                raise BackupError(f"{self.path} was removed while this attempt was at work")
            os.rename(partial, self.final, src_dir_fd=vm, dst_dir_fd=vm)
            os.fsync(vm)

    @contextmanager
    def finished(self) -> Iterator[int | None]:
        """Open what has the backup's name; None when nothing has. Raises `BackupError` when it is no folder."""
        descriptor = None
        with self._vm() as vm, suppress(FileNotFoundError):
            if vm is not None:
                descriptor = files.open_folder(self.final, dir_fd=vm, path=self.path / self.final)
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def remove(self, *, keep: str | None) -> None:
        """Remove what is named by the backup's id, unfinished and finished, except the snapshot `keep`."""
        self.remove_partials()
        # after those: what an attempt has renamed meanwhile is found here
        finished = re.compile(rf"\d{{8}}T\d{{6}}Z-{re.escape(self._backup)}")
        self._remove(finished, except_for=lambda name: str(self.path / name) == keep)
        self.remove_if_empty()

    def remove_partials(self, *, before: int | None = None) -> None:
        """Remove what attempts have left unfinished: those with a number less than `before`, or all of them."""

        def later(name: str) -> bool:
            return before is not None and name.startswith(".partial-") and int(name.rpartition("-")[2]) >= before

        partial = re.compile(rf"\.(?:partial|removed)-{re.escape(self._backup)}-(\d+)")
        self._remove(partial, except_for=later)

    def remove_own(self, partial: str) -> None:
        """Remove an attempt's own folder as far as that can be done, and the VM's with the last thing in it."""
        with suppress(OSError, BackupError), self._vm() as vm:
            if vm is not None:
                _remove_tree(partial, vm)
        self.remove_if_empty()

    def remove_if_empty(self) -> None:
        with suppress(OSError):
            os.rmdir(self._name, dir_fd=self._location)

    def _remove(self, pattern: re.Pattern[str], *, except_for: Callable[[str], bool]) -> None:
        with self._vm() as vm:
            if vm is not None:
                for name in _names(vm):
                    if pattern.fullmatch(name) and not except_for(name):
                        self._remove_one(vm, name)

    def _remove_one(self, vm: int, name: str) -> None:
        """Remove a folder whole: it is gone under its name before any of its files is. A symlink is, and no more."""
        removed = f".removed-{self._backup}-{time.monotonic_ns()}"
        try:
            os.rename(name, removed, src_dir_fd=vm, dst_dir_fd=vm)
        except FileNotFoundError:
            return  # another one removes it, or has finished it
        os.fsync(vm)
        _remove_tree(removed, vm)

    @contextmanager
    def _vm(self) -> Iterator[int | None]:
        """Open the VM's folder; None when there is none."""
        descriptor = None
        with suppress(FileNotFoundError):
            descriptor = files.open_folder(self._name, dir_fd=self._location, path=self.path)
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _tighten(self, vm: int) -> None:
        """Take from others a VM's folder that an older version has made."""
        status = os.fstat(vm)
        mode = stat.S_IMODE(status.st_mode)
        if mode & self._umask and status.st_uid == os.geteuid():
            os.fchmod(vm, mode & ~self._umask)


def _remove_tree(name: str, parent: int, depth: int = 0) -> None:
    """Remove what has a name in an open folder, and all in it; what is gone already, another one has removed."""
    if depth > DEEPEST:
        raise BackupError(f"there are more than {DEEPEST} folders in each other, which no backup has made")
    with suppress(FileNotFoundError):
        try:
            folder = os.open(name, files.FOLDER, dir_fd=parent)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                raise
            os.unlink(name, dir_fd=parent)
            return
        try:
            for below in _names(folder):
                _remove_tree(below, folder, depth + 1)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=parent)


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


@contextmanager
def opened(request: BackupRequested, own: Sequence[str], umask: int) -> Iterator[Repository | None]:
    """Open a request's repository; None when it does not exist. Raises `Refused` when none may be there."""
    real = os.path.realpath(request.location)
    allowed = request.repository_roots and [os.path.realpath(root) for root in request.repository_roots]
    # of the VM's folder: a repository that lies above a folder could have a VM named like it
    if reason := roots.refusal(f"{real}/{request.context_id}", "repository_roots", allowed, own):
        raise files.Refused(f"the repository folder {request.location} is refused: {reason}")
    try:
        location = files.open_real(real, files.FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    try:
        yield Repository(request, location, umask)
    finally:
        os.close(location)


def seen(request: BackupRequested, own: Sequence[str], umask: int) -> RepositoryState:
    """Return how a request's repository is, for a look that writes nothing."""
    try:
        with opened(request, own, umask) as place:
            return RepositoryState(problem=missing(request)) if place is None else place.state()
    except BackupError as error:
        return RepositoryState(problem=str(error))
    except OSError as error:
        return RepositoryState(problem=files.explain(error, request))


def missing(request: BackupRequested) -> str:
    """Return what is said of a repository that is not there. None is made: most often it is not mounted."""
    return f"the repository folder {request.location} does not exist: create or mount it"
