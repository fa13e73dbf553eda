"""What the engine writes is its user's alone: new files, those of older versions, and backups."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import privacy
from tests.running import ROOT, Running


@pytest.fixture
def usual() -> Iterator[None]:
    """The umask that most people have."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def readable(folder: Path, mask: int = 0o007) -> list[str]:
    """Return what others may read, write or enter."""
    found = [folder, *folder.rglob("*")]
    return [str(path) for path in found if not path.is_symlink() and path.stat().st_mode & mask]


@pytest.mark.server
@pytest.mark.usefixtures("usual")
def test_nothing_of_an_engine_and_its_backups_is_readable_by_others(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "logs").mkdir(parents=True)
    (data / "logs" / "worker.log").write_text("of an older version\n")
    running = Running(data, "--demo").start()
    try:
        api = running.client()
        (flow,) = api.get("/protection-flows")["flows"]
        asked = api.call("POST", f"/protection-flows/{flow['id']}/execute", {}, status=202)
        ended = api.ended(asked["execution_id"])
        assert (ended["status"], ended["jobs_completed"]) == ("success", 3)
        assert len(list(data.glob("demo/repository/*/*/manifest.json"))) >= 3
        assert readable(data, 0o077) == []
    finally:
        assert running.stop() == 0
    assert readable(data, 0o077) == []


@pytest.mark.server
@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize(("choice", "expected"), [({}, "0o77"), ({"FLOWS_GROUP_READABLE": "1"}, "0o27")])
def test_every_command_and_what_it_starts_keep_others_out(choice: dict[str, str], expected: str) -> None:
    program = (
        "import os, subprocess, sys\n"
        "from cli import failures, main\n"
        "show = [sys.executable, '-c', 'import os; print(oct(os.umask(0)))']\n"
        "failures.run = lambda _: subprocess.run(show).returncode\n"
        "main.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **choice},
    )
    assert done.stdout.strip() == expected


@pytest.mark.usefixtures("usual")
def test_only_what_is_the_engines_own_is_tightened(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
        for folder in (data / "jetstream" / "deep", data / "theirs", elsewhere):
            folder.mkdir(parents=True)
        for file in (
            data / "flows.db",
            data / "flows.db-wal",
            data / "jetstream" / "deep" / "1.blk",
            data / "theirs" / "x",
        ):
            file.touch()
        (data / "jetstream" / "link").symlink_to(elsewhere)
        (data / "logs").symlink_to(elsewhere)
        for path in (*data.rglob("*"), data, elsewhere):
            if not path.is_symlink():
                path.chmod(0o755)
        privacy.tighten(data)
        assert readable(data, 0o077) == [str(path) for path in (data, data / "theirs", data / "theirs" / "x")]
        assert readable(elsewhere, 0o077) == [str(elsewhere)]
        (data / "theirs" / "x").unlink()
        (data / "theirs").rmdir()
        privacy.tighten(data)
        assert readable(data, 0o077) == []
        os.umask(0o027)
        data.chmod(0o755)
        privacy.tighten(data)
        assert stat.S_IMODE(data.stat().st_mode) == 0o750
    finally:
        os.umask(before)
