"""Requests for the directory engine, and what it leaves in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from schemas.definitions import Disk
from schemas.events import BackupRequested
from tests.support import T0

MIB = 1 << 20


def request(tmp_path: Path, *disks: Path, **given: Any) -> BackupRequested:
    repository = tmp_path / "repository"
    repository.mkdir(exist_ok=True)
    fields = {
        "flow_id": "flow-1",
        "execution_id": "execution-1",
        "backup_id": "backup-1",
        "context_id": "vm-1",
        "vm_name": "web",
        "disks": [Disk(disk_id=disk.stem, path=str(disk)) for disk in disks],
        "repository_id": "repo-1",
        "engine": "directory",
        "location": str(repository),
        "config": {},
        "backup_type": "auto",
        "retry_attempts": 0,
        "retry_delay_seconds": 1,
        "timeout_seconds": None,
        "requested_at": T0,
        **given,
    }
    return BackupRequested(**fields)


def everything(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))
