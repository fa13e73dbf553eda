"""Shapes: ids are deterministic, every message survives the log, events tolerate what inputs refuse."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from api import requests
from bus.selection import begins
from bus.subjects import (
    STREAM_SUBJECTS,
    TABLE,
    belongs_on,
    guard_at,
    guard_of,
    key_of,
    matches,
    subject_of,
    type_of,
)
from cli.commands.settings import MEANINGS
from cli.settings import VARIABLES
from schemas import definitions, ids, tables
from schemas.base import Id, tag_of
from schemas.commands import COMMANDS
from schemas.definitions import DEFINITIONS, FlowSpec
from schemas.events import EVENTS, BackupEvent, BackupRequested, BackupStarted, FlowDue, Rejected
from tests import support
from tests.support import T0


def test_ids_depend_on_what_they_name_alone() -> None:
    at = datetime(2026, 10, 9, 4, 0, tzinfo=timezone(timedelta(hours=2)))
    assert ids.scheduled_execution_id("f", at) == ids.scheduled_execution_id("f", at.astimezone(UTC))
    assert ids.scheduled_execution_id("f", at) != ids.scheduled_execution_id("g", at)
    assert ids.scheduled_execution_id("f", at) != ids.scheduled_execution_id("f", at + timedelta(minutes=1))
    assert ids.backup_id("e", "vm") == ids.backup_id("e", "vm") != ids.backup_id("e", "vn")


def test_derived_ids_are_fixed_for_ever() -> None:
    # they are on people's logs: a change here would break every reference to what was before
    assert ids.scheduled_execution_id("flow-1", T0) == "efe00aa9-42d1-57ca-bca8-c12210792e58"
    assert ids.backup_id("execution-1", "vm-1") == "1ec6b263-a945-5c97-9a17-7755309eb9be"


@pytest.mark.parametrize("bad", ["", "a.b", "a*", ">", "a b", "a\n", "é", "x" * 65, "../x", "a/b"])
def test_ids_that_would_break_a_subject_are_refused(bad: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, Id)


def test_every_message_has_a_row_and_a_tag_of_its_own() -> None:
    tags = [tag_of(message) for message in (*COMMANDS, *EVENTS)]
    assert len(tags) == len(set(tags)) == len(TABLE)


def test_subjects_have_three_tokens() -> None:
    for message in (support.vm(), support.due(), support.flow()):
        assert subject_of(message).count(".") == 2
        assert subject_of(message).endswith(key_of(message))
    no = Rejected(entity="flow", verb="create", id="x", code="invalid", reason="because")
    assert subject_of(no) == type_of(no) == "rejected.flow.create"
    for command in COMMANDS:
        assert tag_of(command).count(".") == 2


def test_what_is_reported_about_a_backup_names_its_vm_in_the_subject() -> None:
    for row in TABLE.values():
        if issubclass(row.message, BackupEvent) and row.message is not BackupRequested:
            assert row.subject == f"{tag_of(row.message)}.{{flow_id}}.{{context_id}}"
    assert "backup.>" in STREAM_SUBJECTS
    started = BackupStarted(flow_id="flow", execution_id="e", backup_id="b", context_id="vm", attempt=1, worker="w")
    assert subject_of(started) == "backup.started.flow.vm"
    assert belongs_on(started, "backup.started.flow.vm")
    assert belongs_on(started, "backup.started.flow")  # as older versions appended it
    assert not belongs_on(started, "backup.started.flow.other")
    assert not belongs_on(started, "backup.started.other.vm")
    assert not belongs_on(started, "backup.failed.flow.vm")
    assert not belongs_on(support.due("a"), "flow.due")


def test_an_append_of_an_older_version_moves_the_guard_on_that_it_had() -> None:
    assert guard_at("backup.requested.f") == guard_at("backup.requested.f.pool") == "backup.requested.>"
    assert guard_at("backup.skipped.f") == "backup.skipped.f"
    assert guard_at("backup.skipped.f.vm") == "backup.skipped.f.*"
    assert guard_at("backup.abandoned.f.vm") == "backup.abandoned.f.vm"


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("backup", "backup.started.a.vm", True),
        ("backup.started", "backup.started.a.vm", True),
        ("backup.started.*", "backup.started.a", True),
        ("backup.started.*", "backup.started.a.vm", True),
        ("backup.*.a", "backup.started.a.vm", True),
        ("backup.*.vm", "backup.started.a.vm", False),
        ("backup.*.*.vm", "backup.started.a.vm", True),
        ("backup.>", "backup.started.a.vm", True),
        ("flow", "flow.due.a", True),
        ("flo", "flow.due.a", False),
    ],
)
def test_a_pattern_of_people_matches_what_begins_so(pattern: str, subject: str, *, expected: bool) -> None:
    assert begins(pattern, subject) is expected


def test_guards() -> None:
    assert guard_of(support.due("f")) == "flow.*.f"
    assert guard_of(support.vm()) == "catalog.*.*"
    for row in TABLE.values():
        if row.guard is not None:
            subject, guard = (re.sub(r"\{\w+\}", "x", template) for template in (row.subject, row.guard))
            assert guard_at(subject) == guard, f"an append of {row.message.__name__} does not move its own guard on"


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("flow.*.*", "flow.due.a", True),
        ("flow.>", "flow.due.a", True),
        (">", "flow.due.a", True),
        ("flow.due.a", "flow.due.a", True),
        ("flow.*", "flow.due.a", False),
        ("flow.*.*.*", "flow.due.a", False),
        ("flow.>", "flow", False),
        ("backup.*.a", "backup.started.b", False),
    ],
)
def test_matching(pattern: str, subject: str, *, expected: bool) -> None:
    assert matches(pattern, subject) is expected


def test_events_tolerate_unknown_fields() -> None:
    body = msgspec.json.encode(msgspec.to_builtins(support.due()) | {"new_in_version_2": 1})
    assert msgspec.json.decode(body, type=FlowDue) == support.due()


def test_inputs_refuse_unknown_fields() -> None:
    given = {"name": "x", "flow_type": "backup", "target_type": "vm", "target_id": "v"}
    assert msgspec.convert(given, requests.FlowRequest) is not None
    assert msgspec.convert(given | {"nmae": 1}, FlowSpec) is not None
    with pytest.raises(msgspec.ValidationError, match="nmae"):
        msgspec.convert(given | {"nmae": 1}, requests.FlowRequest)


def test_nested_inputs_refuse_unknown_fields_too() -> None:
    with pytest.raises(msgspec.ValidationError, match="pth"):
        msgspec.convert({"vm_name": "x", "disks": [{"disk_id": "d", "path": "/x", "pth": 1}]}, requests.VmRequest)


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_a_patch_names_the_same_fields_as_its_spec(kind: str) -> None:
    own = {"group": {"members"}, "repository": {"type"}}  # members have commands; an engine never changes
    spec = DEFINITIONS[kind].__base__
    patch = getattr(definitions, spec.__name__.replace("Spec", "Patch"))
    assert set(patch.__struct_fields__) == set(spec.__struct_fields__) - own.get(kind, set())


def test_every_setting_can_be_set_shown_and_seeded() -> None:
    settings = set(definitions.SettingsPatch.__struct_fields__)
    assert settings == set(definitions.Settings.__struct_fields__) - {"version", "updated_at", "updated_by"}
    assert {column.name for column in tables.settings.columns} == {"id", *definitions.Settings.__struct_fields__}
    assert settings == set(MEANINGS)
    assert settings - set(VARIABLES) == {"block_devices"}  # said by hand alone: what it opens is not a file
