"""The settings of the whole engine: the registry's word on them, and what the executor makes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec import ValidationError, convert, structs

from bus.envelope import Stored
from schemas import commands as c
from schemas.base import Message
from schemas.definitions import Settings, SettingsPatch
from schemas.events import BackupRequested, Rejected, SettingsDefined
from schemas.ids import ENGINE
from services.catalogue import Catalogue
from services.executor import replay as replaying
from services.executor.replay import replay
from services.executor.state import State, evolve
from services.registry import domain as registry
from services.registry.changes import changes
from tests.histories.files import FOLDER, load
from tests.services.world import World, done, house, of
from tests.support import T0, due, engine_settings, sent, stored

LATER = T0 + timedelta(hours=1)


def update(if_version: int | None = None, id: str = ENGINE, **patch: Any) -> c.UpdateSettings:
    return c.UpdateSettings(id=id, patch=SettingsPatch(**patch), if_version=if_version)


def when(catalogue: Catalogue, command: c.Command, actor: str = "eve") -> Any:
    decided = changes(catalogue, command, actor=actor, time=LATER)
    if isinstance(decided, Rejected):
        return decided
    (event,) = decided
    catalogue.evolve(event)
    assert event.version == catalogue.settings.version
    return event.definition


# --- the registry ----------------------------------------------------------------------------------------------------


def test_what_is_left_out_stays_and_null_clears() -> None:
    catalogue = Catalogue()
    assert catalogue.settings == Settings(max_concurrent_jobs=None, keep_days=None, version=0)
    first = when(catalogue, update(max_concurrent_jobs=4))
    assert first == Settings(max_concurrent_jobs=4, version=1, updated_at=LATER, updated_by="eve")
    second = when(catalogue, update(keep_days=30), actor="adam")
    assert second == structs.replace(first, keep_days=30, version=2, updated_by="adam")
    third = when(catalogue, update(max_concurrent_jobs=None))
    assert (third.max_concurrent_jobs, third.keep_days, third.version) == (None, 30, 3)


def test_only_the_version_that_was_seen_is_changed() -> None:
    catalogue = Catalogue()
    assert when(catalogue, update(if_version=0, keep_days=30)).version == 1
    refused = when(catalogue, update(if_version=0, keep_days=60))
    assert (refused.code, refused.entity, refused.verb) == ("version", "settings", "update")
    assert "at version 1, not 0" in refused.reason
    assert when(catalogue, update(if_version=1, keep_days=60)).keep_days == 60


def test_there_are_no_others() -> None:
    refused = when(Catalogue(), update(id="mine", keep_days=30))
    assert (refused.code, refused.id) == ("not_found", "mine")


def test_what_is_so_already_is_said_again() -> None:
    catalogue = Catalogue()
    first = when(catalogue, update(keep_days=30))
    assert when(catalogue, update(keep_days=30), actor="adam") == first
    assert when(catalogue, update()) == first
    # before anything was set, what holds then is said, so that the command has its outcome
    assert when(Catalogue(), update(keep_days=None)).version == 1


@pytest.mark.parametrize("nonsense", [{"max_concurrent_jobs": 0}, {"keep_days": -1}, {"keep_days": 36_501}])
def test_nonsense_has_no_shape(nonsense: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        convert(nonsense, SettingsPatch)


def test_commands_that_wait_together_build_on_each_other_and_nothing_is_so_before_the_log_says_it() -> None:
    state = registry.State()
    for number, command in enumerate((update(max_concurrent_jobs=2), update(keep_days=9)), start=1):
        registry.evolve(state, stored(sent(command, id=f"c{number}", actor="eve"), number))
    said = [one.event for batch in registry.decide(state) for one in batch]
    assert [one.version for one in said if isinstance(one, SettingsDefined)] == [1, 2]
    assert state.catalogue.settings == Settings()
    assert said == [one.event for batch in registry.decide(state) for one in batch]


# --- the executor ----------------------------------------------------------------------------------------------------


def test_a_limit_that_changes_counts_at_once_for_what_is_admitted_from_then_on() -> None:
    world = World(engine_settings(max_concurrent_jobs=1), *house(due(), vms=6))
    begun = [one.context_id for one in of(BackupRequested, world.settle())]
    assert begun == ["vm-0"]
    begun += requested(world, engine_settings(max_concurrent_jobs=3, version=2))
    assert begun == ["vm-0", "vm-1", "vm-2"]
    assert requested(world, engine_settings(max_concurrent_jobs=1, version=3)) == []
    assert requested(world, done("vm-0")) == requested(world, done("vm-1")) == []  # what runs goes on
    assert requested(world, done("vm-2")) == ["vm-3"]
    world.refold()
    assert world.decide() == []
    assert requested(world, engine_settings(max_concurrent_jobs=None, version=4)) == ["vm-4", "vm-5"]


def requested(world: World, *messages: Message) -> list[str]:
    world.append(*messages)
    return [one.context_id for one in of(BackupRequested, world.settle())]


# --- replay ----------------------------------------------------------------------------------------------------------


def test_a_replay_that_does_not_know_the_limit_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backups beyond the limit of then are in no batch of then: deciding them today is a difference."""
    entries = load(FOLDER / "limits.jsonl")
    assert all(one.equal for one in replay(entries))

    def forgetful(state: State, entry: Stored) -> State:
        return state if isinstance(entry.envelope.data, SettingsDefined) else evolve(state, entry)

    monkeypatch.setattr(replaying, "evolve", forgetful)
    different = [one for one in replay(entries) if not one.equal]
    assert different
    assert {type(one.today.event) for one in different if one.today is not None} == {BackupRequested}
    assert {one.entry for one in different} == {None}


def test_a_replay_under_another_limit_is_found_out() -> None:
    entries = [_limited(entry, 1) for entry in load(FOLDER / "limits.jsonl")]
    assert any(one.entry is not None and one.today is None for one in replay(entries))


def test_what_was_admitted_before_the_log_had_settings_is_not_judged_by_their_absence() -> None:
    entries = [one for one in load(FOLDER / "limits.jsonl") if not isinstance(one.envelope.data, SettingsDefined)]
    assert all(one.equal for one in replay(entries))


def _limited(entry: Stored, limit: int | None) -> Stored:
    event = entry.envelope.data
    if not isinstance(event, SettingsDefined):
        return entry
    changed = structs.replace(event, definition=structs.replace(event.definition, max_concurrent_jobs=limit))
    return structs.replace(entry, envelope=structs.replace(entry.envelope, data=changed))
