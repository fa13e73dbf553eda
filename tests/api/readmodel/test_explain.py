"""What the tables hold of the log tells the same as the log itself, on each database; and not too much is read."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from api.readmodel import explain
from api.readmodel.reader import Reader
from api.responses.flows import Explanation
from bus.envelope import Stored
from bus.log import Identity
from schemas.commands import ExecuteFlow, UpdateFlow
from schemas.definitions import FlowPatch
from schemas.ids import manual_execution_id
from services import database
from services.recorder.store import Tables, publish_nothing
from tests.services.explanation.all_situations import SITUATIONS
from tests.services.explanation.played import DUE, FOLDER, text
from tests.services.explanation.stage import FLOW, Stage

STREAM = Identity(created="then", last_sequence=1_000_000)


async def recorded(url: str, entries: Sequence[Stored]) -> Reader:
    """Return a reader of tables that hold a log."""
    tables = Tables(url)
    await tables.apply(entries, STREAM, publish_nothing)
    await tables.close()
    return Reader(database.reader(url))


async def told(reader: Reader, stage: Stage) -> Explanation:
    """Return what the tables tell of what a stage was last asked about."""
    asked = stage.question
    try:
        if asked.execution_id is not None:
            found = await explain.of_execution(reader, asked.execution_id, stage.now, stage.workers)
        else:
            found = await explain.of_flow(reader, asked.flow_id or "", asked.at, stage.now, stage.workers)
    finally:
        await reader._engine.dispose()
    assert found is not None
    return found


@pytest.mark.parametrize("name", sorted(SITUATIONS))
async def test_the_tables_tell_what_the_log_tells(name: str, empty_tables: Path, tmp_path: Path) -> None:
    stage = Stage()
    SITUATIONS[name](stage)
    url = database.sqlite_url(Path(shutil.copy(empty_tables, tmp_path / "flows.db")))
    found = await told(await recorded(url, stage.entries), stage)
    assert text(found.sentences) == (FOLDER / f"{name}.txt").read_text()
    assert found.lines == [one.text for one in found.sentences]


async def test_on_each_database(database_url: str) -> None:
    stage = Stage()
    SITUATIONS["waited_for_a_slot_of_the_repository"](stage)
    await database.prepare(database_url)
    found = await told(await recorded(database_url, stage.entries), stage)
    assert any("until web-2 of flow 'databases' ended" in line for line in found.lines)


async def test_an_execution_is_told_of_by_its_id_as_by_its_time(empty_tables: Path, tmp_path: Path) -> None:
    stage = Stage()
    SITUATIONS["cancelled"](stage)
    url = database.sqlite_url(Path(shutil.copy(empty_tables, tmp_path / "flows.db")))
    by_time = await told(await recorded(url, stage.entries), stage)
    stage.of(stage.execution())
    by_id = await told(Reader(database.reader(url)), stage)
    assert by_id.execution_id == by_time.execution_id == stage.execution()
    assert by_id.lines == by_time.lines[:-1]  # when the flow runs next is another question


async def test_what_waits_is_told_of_by_the_id_that_it_was_promised(empty_tables: Path, tmp_path: Path) -> None:
    stage = Stage()
    SITUATIONS["waits_for_the_one_before"](stage)
    asked = next(one.envelope for one in reversed(stage.entries) if isinstance(one.envelope.data, ExecuteFlow))
    whole = stage.of(manual_execution_id(asked.id))
    url = database.sqlite_url(Path(shutil.copy(empty_tables, tmp_path / "flows.db")))
    found = await told(await recorded(url, stage.entries), stage)
    assert found.sentences == whole.sentences
    assert "and still waits, for the execution of 02:00 (01:00 UTC)" in found.lines[-1]
    assert found.execution_id is None  # there is none yet


async def test_what_nobody_knows_is_none(empty_tables: Path, tmp_path: Path) -> None:
    url = database.sqlite_url(Path(shutil.copy(empty_tables, tmp_path / "flows.db")))
    reader = await recorded(url, [])
    assert await explain.of_flow(reader, FLOW, DUE, DUE) is None
    assert await explain.of_flow(reader, FLOW, None, DUE) is None
    assert await explain.of_execution(reader, "x", DUE) is None
    await reader._engine.dispose()


@pytest.mark.parametrize("name", ["disabled_then", "scheduled_only_since", "caught_up", "not_born_yet"])
async def test_a_flow_that_was_changed_very_often_since_then(
    name: str, empty_tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of very many versions those are read that were in force then, and not only the newest."""
    monkeypatch.setattr(explain, "VERSIONS", 4)
    stage = Stage()
    SITUATIONS[name](stage)
    for priority in range(1, 10):
        stage.ask(UpdateFlow(id=FLOW, patch=FlowPatch(priority=priority)))
    whole = stage.why(stage.question.at)
    url = database.sqlite_url(Path(shutil.copy(empty_tables, tmp_path / "flows.db")))
    assert (await told(await recorded(url, stage.entries), stage)).sentences == whole.sentences


async def test_what_is_left_out_is_said(empty_tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an execution with very many messages not all are read, and nothing false is told of the rest."""
    monkeypatch.setattr(explain, "OWN", 3)
    stage = Stage()
    SITUATIONS["all_failed"](stage)
    url = database.sqlite_url(Path(shutil.copy(empty_tables, tmp_path / "flows.db")))
    lines = (await told(await recorded(url, stage.entries), stage)).lines
    assert "The log has more messages about it than are told here." in lines
    assert any("all 8 VMs failed" in line for line in lines)
