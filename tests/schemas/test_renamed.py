"""Fields that had another name: on old messages of the log, in requests, in documents of definitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from api.decoding import decode as decode_request
from api.problems import ApiError
from api.requests import FlowPatchRequest, SchedulePatchRequest, ScheduleRequest
from bus.envelope import Stored, Unreadable, decode, encode
from bus.subjects import subject_of
from cli.declare import read
from schemas.commands import CreateSchedule, UpdateSchedule
from schemas.definitions import SchedulePatch, ScheduleSpec
from tests.support import T0, schedule, sent

SPEC = ScheduleSpec(name="s", cron_expression="0 2 * * *", jitter_seconds=300)
MESSAGES = [
    schedule(jitter_seconds=300),
    CreateSchedule(id="s", spec=SPEC),
    UpdateSchedule(id="s", patch=SchedulePatch(jitter_seconds=300)),
]


def old(message: Any) -> bytes:
    return encode(sent(message)).replace(b"jitter_seconds", b"spread_seconds")


def stored(message: Any, body: bytes) -> Stored | Unreadable:
    return decode(sequence=7, subject=subject_of(message), stored_at=T0, body=body)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message.__struct_config__.tag))
def test_an_old_message_decodes_to_the_present_one(message: Any) -> None:
    entry = stored(message, old(message))
    assert isinstance(entry, Stored)
    assert entry.envelope.data == message
    assert entry.body == old(message)


def test_a_new_message_has_the_new_name_alone() -> None:
    body = encode(sent(MESSAGES[0]))
    assert b'"jitter_seconds":300' in body
    assert b"spread" not in body


def test_where_both_names_are_the_new_one_counts() -> None:
    body = json.loads(encode(sent(MESSAGES[0])))
    body["data"]["definition"]["spread_seconds"] = 7
    entry = stored(MESSAGES[0], json.dumps(body).encode())
    assert isinstance(entry, Stored)
    assert entry.envelope.data == MESSAGES[0]


@pytest.mark.parametrize("wrong", [b"-1", b'"many"', b"null"])
def test_an_old_message_with_a_wrong_value_is_unreadable(wrong: bytes) -> None:
    entry = stored(MESSAGES[0], old(MESSAGES[0]).replace(b'"spread_seconds":300', b'"spread_seconds":' + wrong))
    assert isinstance(entry, Unreadable)


def test_a_tombstone_that_speaks_of_the_old_name_decodes() -> None:
    gone = replace(schedule(), definition=None)
    body = json.loads(encode(sent(gone)))
    body["data"]["remark"] = {"spread_seconds": 1}
    entry = stored(gone, json.dumps(body).encode())
    assert isinstance(entry, Stored)
    assert entry.envelope.data == gone


def test_people_may_use_the_old_name() -> None:
    body = {"name": "s", "cron_expression": "0 2 * * *", "spread_seconds": 300}
    assert decode_request(json.dumps(body).encode(), ScheduleRequest).jitter_seconds == 300
    assert decode_request(b'{"spread_seconds": 300}', SchedulePatchRequest).jitter_seconds == 300


@pytest.mark.parametrize(
    ("body", "shape", "field"),
    [
        (b'{"spread_seconds": -1}', SchedulePatchRequest, "jitter_seconds"),
        (b'{"spread_seconds": 1, "jitter_seconds": 2}', SchedulePatchRequest, "spread_seconds"),
        (b'{"spread_seconds": 1}', FlowPatchRequest, "spread_seconds"),
        (b'{"spread": 1}', SchedulePatchRequest, "spread"),
    ],
)
def test_only_this_name_and_only_of_schedules(body: bytes, shape: Any, field: str) -> None:
    with pytest.raises(ApiError) as refused:
        decode_request(body, shape)
    assert refused.value.status == 422
    assert [error.field for error in refused.value.errors] == [field]


def test_a_document_may_use_the_old_name(tmp_path: Path) -> None:
    file = tmp_path / "flows.yaml"
    file.write_text("schedules:\n- {name: s, cron_expression: '0 2 * * *', spread_seconds: 300}\n")
    assert read(file)["schedules"] == [{"name": "s", "cron_expression": "0 2 * * *", "jitter_seconds": 300}]
