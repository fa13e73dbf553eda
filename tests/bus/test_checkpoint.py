"""Checkpoints of older code are read, and older code reads those of this one."""

from __future__ import annotations

import msgspec

from bus.checkpoint import Checkpoint


def test_the_number_of_processed_ids_has_its_old_name_in_the_bucket() -> None:
    checkpoint = Checkpoint(created="2026-11-01T12:00:00+00:00", position=7, processed=3)
    stored = msgspec.json.encode(checkpoint)
    assert stored == b'{"created":"2026-11-01T12:00:00+00:00","position":7,"answered":3}'
    assert msgspec.json.decode(stored, type=Checkpoint) == checkpoint
