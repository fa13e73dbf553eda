"""Log lines: one for each thing that happened, whatever replicas run, with an action that never changes and the ids."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import pytest

from bus.envelope import Stored
from bus.subjects import TABLE
from cli.logs import JsonFormatter
from schemas import commands as c
from schemas.commands import Command
from schemas.events import BackupProgressed, FlowPlanned
from services.executor.app import Executor
from services.happenings import about, tell
from services.registry.app import Registry
from services.worker.app import Worker
from tests.histories.files import FOLDER, load
from tests.services.conftest import Engine
from tests.services.house import built, house
from tests.support import due, sent

HISTORIES = sorted(FOLDER.glob("*.jsonl"))


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
def test_a_line_is_json_with_the_action_and_the_ids(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = load(file)
    with caplog.at_level(logging.INFO, "services.happenings"):
        for entry in entries:
            tell([entry.envelope], entry.sequence, part="executor")
    untold = [one for one in entries if isinstance(one.envelope.data, FlowPlanned | BackupProgressed)]
    assert len(caplog.records) == len(entries) - len(untold)
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    actions = {tag.replace(".", "_") for tag in TABLE}
    for line in lines:
        assert line["action"] in actions
        assert {"message", "part", "sequence", "id", "subject"} <= line.keys()
        if line["action"].startswith("backup_"):
            assert {"flow_id", "execution_id", "backup_id", "context_id"} <= line.keys()


def test_nothing_that_a_message_says_can_replace_a_field_of_the_log_record() -> None:
    reserved = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime"}
    for file in HISTORIES:
        for entry in load(file):
            assert not reserved & about(entry.envelope, entry.sequence, "executor").keys()


def test_lines_cost_nothing_where_nobody_reads_them(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "services.happenings"):
        tell((sent(due()) for _ in iter(lambda: pytest.fail("it was looked at"), None)), 1, part="scheduler")
    assert not caplog.records


async def test_each_thing_is_told_once_however_many_replicas_run(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """What workers reported was told twice."""
    with caplog.at_level(logging.INFO, "services.happenings"):
        async with engine.running(Registry()):
            await built(engine, house(vms=4))
        async with engine.running(Registry(), Executor(), Executor(), Worker(slots=2), Worker(slots=2)):
            await engine.ask(c.ExecuteFlow(id="flow"))
            await engine.until("flow.completed.*")
    told = Counter(record.sequence for record in caplog.records)  # type: ignore[attr-defined]
    there = [one for one in await engine.log.read([">"]) if isinstance(one, Stored)]
    happened = [one for one in there if not isinstance(one.envelope.data, Command | FlowPlanned | BackupProgressed)]
    assert told == Counter(one.sequence for one in happened)
    assert {"backup_completed", "flow_started", "catalog_vm"} <= {one.action for one in caplog.records}  # type: ignore[attr-defined]
