"""Repositories, and the space where they are."""

from __future__ import annotations

from datetime import datetime

from schemas.base import Value
from schemas.definitions import Repository
from services.worker.inspection import WorkerSeen


class StorageInfo(Value, frozen=True, kw_only=True):
    """The space of the file system that a repository is on, in bytes, and how many good backups it has.

    Null is what this machine could not see. `last_check_at`: when it last looked; null when there is nothing to see.
    """

    total_bytes: int | None
    used_bytes: int | None
    available_bytes: int | None
    used_percent: float | None
    backup_count: int
    last_check_at: datetime | None


class RepositoryResponse(Repository, frozen=True, kw_only=True):
    """A repository, with its space."""

    storage_info: StorageInfo


class CreatedRepository(RepositoryResponse, frozen=True, kw_only=True):
    """A repository that was just created. `warnings`: what would keep backups from it, as far as workers can see.

    `inspections`: what those workers saw that could look; empty when none could.
    """

    warnings: list[str]
    inspections: list[WorkerSeen]


class RepositoryList(Value, frozen=True, kw_only=True):
    success: bool = True
    repositories: list[RepositoryResponse]
    total: int


class Done(Value, frozen=True, kw_only=True):
    """Something was done; what, in words."""

    success: bool = True
    message: str


class FoundSpace(Value, frozen=True, kw_only=True):
    """The space in a folder, in bytes, and whether this process may write there."""

    total_bytes: int
    available_bytes: int
    writable: bool


class RepositoryTest(Value, frozen=True, kw_only=True):
    """Whether a repository could be used, as far as this machine sees it. `storage`: null when there is nothing to see.

    Nothing was saved, and nothing written.
    """

    success: bool
    message: str
    storage: FoundSpace | None


class Storage(Value, frozen=True, kw_only=True):
    """A repository's space in bytes; total and free are null where this machine cannot see it."""

    total_bytes: int | None
    free_bytes: int | None
    used_by_backups_bytes: int
    backup_count: int


class StorageDay(Value, frozen=True, kw_only=True):
    """A day: how many backups were completed and the bytes they take, and the bytes of all that were up to its end."""

    day: str
    backups: int
    bytes: int
    stored_bytes: int


class StorageHistory(Value, frozen=True, kw_only=True):
    """What backups take of a repository, day by day, up to today, and when it is full if it goes on like this.

    `bytes_per_day`: by how much it grows; null while too little is known. `free_bytes`: null where this machine cannot
    see it. `full_on`: the day on which these are taken; null when it is not growing, or it is longer than ten years.
    """

    repository_id: str
    days: list[StorageDay]
    timezone: str
    stored_bytes: int
    backup_count: int
    free_bytes: int | None
    total_bytes: int | None
    bytes_per_day: float | None
    full_on: str | None
