"""The bucket beside the log: statuses by their prefix; checkpoints of older code, and those that older code reads."""

from __future__ import annotations

import msgspec
import pytest

from bus.checkpoint import Checkpoint
from bus.log import Log


def test_the_number_of_processed_ids_has_its_old_name_in_the_bucket() -> None:
    checkpoint = Checkpoint(created="2026-11-01T12:00:00+00:00", position=7, processed=3)
    stored = msgspec.json.encode(checkpoint)
    assert stored == b'{"created":"2026-11-01T12:00:00+00:00","position":7,"answered":3}'
    assert msgspec.json.decode(stored, type=Checkpoint) == checkpoint


@pytest.mark.server
async def test_statuses_are_listed_by_prefix_without_those_that_are_deleted(log: Log) -> None:
    assert await log.statuses("") == {}
    for key in ("worker.one", "worker.two", "clock.one"):
        await log.put_status(key, {"of": key})
    await log.put_status("worker.one", {"of": "worker.one", "again": True})
    found = await log.statuses("worker.")
    assert {key: status.value for key, status in found.items()} == {
        "worker.one": {"of": "worker.one", "again": True},
        "worker.two": {"of": "worker.two"},
    }
    await log.delete_status("worker.one")
    assert sorted(await log.statuses("worker.")) == ["worker.two"]
    assert sorted(await log.statuses("")) == ["clock.one", "worker.two"]
