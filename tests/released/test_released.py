"""What any released version has written to the log is read for ever, and means the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bus.envelope import Stored, decode, encode
from bus.subjects import TABLE
from schemas.renamed import renamed_in
from tests.released.files import FOLDER, VERSION, file_of, is_released, recorded, sampled
from tests.support import T0

FILES = sorted(FOLDER.glob("*/*.json"))


def missing(told: Any, again: Any, at: str = "") -> list[str]:
    """Return what a body says and another one does not."""
    if isinstance(told, dict) and isinstance(again, dict):
        return [one for key in told for one in missing(told[key], again.get(key), f"{at}.{key}")]
    return [] if told == again else [f"{at}: {told!r} became {again!r}"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_messages_of_every_version_are_read_and_mean_the_same(file: Path) -> None:
    for kind, one in recorded(file).items():
        sent = one["body"]
        entry = decode(sequence=1, subject=one["subject"], stored_at=T0, body=msgspec.json.encode(sent))
        assert isinstance(entry, Stored), f"{kind}: {entry.error}"
        again = encode(entry.envelope)
        renamed = {**sent, "data": renamed_in(sent["data"])}
        assert missing(renamed, msgspec.json.decode(again)) == [], kind
        assert decode(sequence=1, subject=entry.subject, stored_at=T0, body=again) == msgspec.structs.replace(
            entry, body=again
        )


@pytest.mark.parametrize("tag", TABLE)
def test_each_type_of_message_is_recorded_with_all_its_fields(tag: str) -> None:
    how = f"python -m tests.released.record writes what {VERSION} is to be remembered by"
    assert file_of(tag).exists(), how
    assert recorded(file_of(tag)) == sampled(TABLE[tag].message), how


def test_what_is_lost_is_noticed() -> None:
    sent = recorded(file_of("flow.due"))["full"]["body"]
    less = {**sent, "data": {**sent["data"], "occurrence": "2026-11-02T00:00:00Z"}}
    assert missing(sent, less) == [f".data.occurrence: {sent['data']['occurrence']!r} became '2026-11-02T00:00:00Z'"]
    assert missing(sent, {**sent, "actor": None}) == [".actor: 'sample-actor' became None"]


def test_messages_of_a_released_version_are_not_recorded_anew() -> None:
    assert is_released(f"## [Unreleased]\n\n## [{VERSION}] - 2026-12-01\n")
    assert not is_released("## [Unreleased]\n")
