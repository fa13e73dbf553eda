"""Log lines: one for each thing that happened, whatever replicas run, with an action that never changes and the ids."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from bus.subjects import TABLE
from cli.logs import JsonFormatter
from schemas.events import BackupProgressed, FlowPlanned
from services.happenings import about, tell
from tests.histories.files import FOLDER, load
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
