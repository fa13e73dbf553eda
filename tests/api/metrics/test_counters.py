"""Counters say what the log says: they are recounted here by other means."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from api.metrics.counters import Counters
from bus.reading import Page
from schemas.events import FlowMissed
from tests.histories.files import FOLDER, load
from tests.support import T0, history

HISTORIES = sorted(FOLDER.glob("*.jsonl"))


def shown(counters: Counters) -> dict[tuple[str, ...], float]:
    """What is exposed: by name and labels."""
    families = text_string_to_metric_families(generate_latest(counters.registry).decode())
    return {
        (one.name, *one.labels.values()): one.value
        for family in families
        for one in family.samples
        if not one.name.endswith(("_created", "_bucket"))
    }


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
def test_what_is_counted_is_what_the_log_says(file: Path) -> None:
    entries = load(file)
    counters = Counters()
    for start in range(0, len(entries), 5):
        page = entries[start : start + 5]
        counters.hear(Page(entries=page, position=page[-1].sequence, caught_up=True))
    bodies = [(one.envelope.type, one.envelope.data) for one in entries]
    ends = Counter(data.status for type_, data in bodies if type_ == "flow.completed")  # type: ignore[attr-defined]
    found = shown(counters)
    assert {key[1]: value for key, value in found.items() if key[0] == "flows_executions_completed_total"} == ends
    moved = sum(data.bytes_transferred for type_, data in bodies if type_ == "flow.completed")  # type: ignore[attr-defined]
    assert found["flows_backup_bytes_total",] == moved
    scheduled = [data for _, data in bodies if getattr(data, "execution_type", "") == "scheduled"]
    begun = sum(type(data).__name__ == "FlowStarted" for data in scheduled)
    assert found.get(("flows_occurrences_total", "executed", ""), 0) == begun == found["flows_lateness_seconds_count",]
    skipped = Counter(data.reason for data in scheduled if type(data).__name__ == "FlowSkipped")  # type: ignore[attr-defined]
    assert {
        key[2]: value for key, value in found.items() if key[:2] == ("flows_occurrences_total", "skipped")
    } == skipped


def test_missed_occurrences_count_each() -> None:
    counters = Counters()
    missed = FlowMissed(flow_id="f", schedule_id="s", first=T0, last=T0, count=7)
    counters.hear(Page(entries=history(missed), position=1, caught_up=True))
    assert shown(counters)["flows_occurrences_total", "missed", ""] == 7
