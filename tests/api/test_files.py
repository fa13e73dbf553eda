"""What this machine sees of files: in time, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from api import files
from api.files import Files
from tests.support import T0

SECOND = timedelta(seconds=1)


@pytest.fixture
def seen() -> Iterator[Files]:
    found = Files()
    yield found
    found.close()


async def test_space_is_remembered_for_a_minute_unless_it_is_wanted_fresh(seen: Files, tmp_path: Path) -> None:
    first = await seen.space(str(tmp_path), T0)
    assert first.total
    assert await seen.space(str(tmp_path), T0 + 59 * SECOND) is first
    assert (await seen.space(str(tmp_path), T0 + 60 * SECOND)).at == T0 + 60 * SECOND
    fresh = await seen.space(str(tmp_path), T0 + 61 * SECOND, fresh=timedelta(0))
    assert fresh.at == T0 + 61 * SECOND


async def test_a_folder_that_is_not_there_has_no_space(seen: Files, tmp_path: Path) -> None:
    assert (await seen.space(str(tmp_path / "missing"), T0)).total is None
    with pytest.raises(FileNotFoundError):
        await seen.folder(str(tmp_path / "missing"))


async def test_only_regular_files_have_a_size(seen: Files, tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"12345")
    paths = [str(tmp_path / name) for name in ("disk", "missing", "")] + ["/dev/null", "\0"]
    assert await seen.sizes(paths) == {str(tmp_path / "disk"): 5}


async def test_a_file_system_that_does_not_respond_is_not_waited_for(
    seen: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    responds = threading.Event()

    def hangs(_: object) -> None:
        responds.wait(30)

    monkeypatch.setattr(files, "PATIENCE", 0.05)
    monkeypatch.setattr(files, "_sizes", hangs)
    monkeypatch.setattr(files, "_folder", hangs)
    for _ in range(files.THREADS + 2):
        assert await seen.sizes(["/hangs"]) == {}
    with pytest.raises(TimeoutError):
        await seen.folder("/hangs")
    assert (await seen.space(str(tmp_path), T0)).total is None  # no thread is left
    responds.set()
    monkeypatch.setattr(files, "PATIENCE", 10.0)
    assert (await seen.space(str(tmp_path), T0, fresh=timedelta(0))).total
