"""What is kept and has no effect is said."""

from __future__ import annotations

from typing import Any

import pytest

from api.readmodel import applied
from services.worker.engines.registration import ENGINES

NOTHING: dict[str, Any] = {**dict.fromkeys(applied.RETENTION), "backup_type": "auto"}


@pytest.mark.parametrize("field", applied.RETENTION)
@pytest.mark.parametrize("number", [0, 7])
def test_retention_is_marked(field: str, number: int) -> None:
    (found,) = applied.of_policy({**NOTHING, field: number})
    assert (found.field, found.reason) == (field, applied.NO_RETENTION)


def test_incremental_is_marked_where_engines_make_full_copies() -> None:
    (found,) = applied.of_policy({**NOTHING, "backup_type": "incremental"})
    assert found.field == "backup_type"
    assert found.reason.endswith("the engines directory and simulated make full copies only")
    assert applied.full_copies_only("directory") == "the engine directory makes full copies only"


@pytest.mark.parametrize("backup_type", ["auto", "full"])
def test_what_is_applied_is_not_marked(backup_type: str) -> None:
    assert applied.of_policy({**NOTHING, "backup_type": backup_type}) == []


def test_every_engine_makes_full_copies() -> None:
    """Until the end of a backup says which it was, this is what `type` of a backup rests on."""
    assert not any(engine.rules.incremental for engine in ENGINES.values())
