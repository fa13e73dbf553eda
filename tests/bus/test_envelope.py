"""The envelope: CloudEvents out, and a total decoder in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.envelope import Stored, Unreadable, decode, encode
from bus.subjects import subject_of
from schemas.events import BackupStarted
from tests.support import T0, due, flow, group, policy, repository, schedule, sent, vm

EVENTS = [vm(), group(members=["a"]), schedule(), repository(config={"seconds": 1.5}), policy(), flow(), due()]


def read(subject: str, body: bytes) -> Stored | Unreadable:
    return decode(sequence=7, subject=subject, stored_at=T0, body=body)


@pytest.mark.parametrize("message", EVENTS, ids=lambda message: str(message.__struct_config__.tag))
def test_what_goes_in_comes_out(message: Any) -> None:
    event = sent(message, correlationid="c", causationid="x", actor="admin", decidedon=12)
    entry = read(subject_of(message), encode(event))
    assert isinstance(entry, Stored)
    assert entry.envelope.data == message
    assert (entry.envelope.actor, entry.envelope.decidedon, entry.sequence) == ("admin", "12", 7)


def test_a_report_without_its_vm_in_the_subject_is_read_as_older_versions_wrote_it() -> None:
    about = {"flow_id": "flow", "execution_id": "e", "backup_id": "b", "context_id": "vm"}
    body = encode(sent(BackupStarted(**about, attempt=1, worker="w")))
    for subject in ("backup.started.flow.vm", "backup.started.flow"):
        assert isinstance(read(subject, body), Stored)
    for subject in ("backup.started.flow.other", "backup.started.other", "backup.failed.flow.vm", "backup.started"):
        assert isinstance(read(subject, body), Unreadable)


def test_a_body_is_a_cloud_event() -> None:
    body = json.loads(encode(sent(due("f"), id="due:f")))
    required = {"specversion": "1.0", "id": "due:f", "type": "flow.due", "source": "test", "subject": "f"}
    assert required.items() <= body.items()
    assert body["time"] == "2026-11-01T12:00:00Z"
    assert body["data"]["occurrence"] == "2026-11-01T12:00:00Z"
    # attributes without a value are left out, and extension names are lower-case letters and digits
    assert None not in body.values()
    assert all(name.isalnum() and name.islower() for name in body)


def test_a_type_from_newer_code_is_told_from_garbage() -> None:
    body = encode(sent(due("f"))).replace(b"flow.due", b"flow.dew")
    entry = read("flow.dew.f", body)
    assert isinstance(entry, Unreadable)
    assert entry.unknown_type == "flow.dew"


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("flow.due.g", encode(sent(due("f")))),
        ("flow.started.f", encode(sent(due("f")))),
        ("flow.due.f", encode(sent(due("f"))).replace(b'"type":"flow.due","source"', b'"type":"flow.sue","source"')),
    ],
)
def test_a_message_on_another_subject_is_not_believed(subject: str, body: bytes) -> None:
    entry = read(subject, body)
    assert isinstance(entry, Unreadable)
    assert "does not belong" in entry.error


@given(st.binary())
def test_garbage_is_a_value_not_an_error(body: bytes) -> None:
    assert isinstance(read("flow.due.f", body), Unreadable)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_json_is_a_value_not_an_error(value: Any) -> None:
    assert isinstance(read("flow.due.f", json.dumps(value).encode()), Unreadable)
    wrapped = json.loads(encode(sent(due("f")))) | {"data": value}
    assert isinstance(read("flow.due.f", json.dumps(wrapped).encode()), Unreadable)


def test_deep_nesting_is_a_value_not_an_error() -> None:
    assert isinstance(read("flow.due.f", b"[" * 100_000), Unreadable)
