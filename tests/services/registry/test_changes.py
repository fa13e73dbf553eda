"""The registry's decisions: given a catalogue, when a command comes, then definitions or a refusal."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from msgspec import structs

from schemas import commands as c
from schemas.definitions import (
    Disk,
    Exclusion,
    FlowPatch,
    FlowSpec,
    GroupPatch,
    GroupSpec,
    Member,
    PolicySpec,
    RepositoryPatch,
    RepositorySpec,
    SchedulePatch,
    ScheduleSpec,
    VmSpec,
)
from schemas.events import Defined, Rejected
from schemas.ids import ENGINE
from services.catalogue import Catalogue
from services.registry.changes import changes as decide
from tests.support import T0, flow, group, policy, repository, schedule, vm

LATER = T0 + timedelta(hours=1)
FLOW: dict[str, Any] = {
    "name": "nightly",
    "flow_type": "backup",
    "target_type": "group",
    "target_id": "group-1",
    "repository_id": "repo-1",
}


def given(*events: Defined) -> Catalogue:
    catalogue = Catalogue()
    for event in events:
        catalogue.evolve(event)
    return catalogue


def house() -> Catalogue:
    return given(vm(), vm("vm-2"), group(members=["vm-1"]), repository(), schedule(), policy(), flow())


def when(catalogue: Catalogue, command: c.Command) -> Any:
    decided = decide(catalogue, command, actor="eve", time=LATER)
    if isinstance(decided, Rejected):
        return decided
    for event in decided:
        catalogue.evolve(event)
    return [event.definition for event in decided]


A, B = {"site": "a"}, {"site": "b"}


@pytest.mark.parametrize("target", ["vm", "group"])
def test_a_flow_that_no_worker_could_serve_is_refused(target: str) -> None:
    house = given(vm(worker_labels=B), group(members=["vm-1"]), repository(worker_labels=A), repository("other"))
    spec = {**FLOW, "target_type": target, "target_id": f"{target}-1"}
    refused = when(house, c.CreateFlow(id="new", spec=FlowSpec(**spec)))
    assert (refused.code, refused.field) == ("invalid", "repository_id")
    assert refused.reason == "no worker can have both site=b and site=a, as VM 'VM-1' and repository 'repo-1' require"
    (made,) = when(house, c.CreateFlow(id="new", spec=FlowSpec(**{**spec, "repository_id": "other"})))
    changed = when(house, c.UpdateFlow(id="new", patch=FlowPatch(repository_id="repo-1")))
    assert isinstance(changed, Rejected)
    assert made.repository_id == "other"


def test_labels_that_contradict_each_other_later_do_not_keep_definitions_from_changing() -> None:
    house = given(vm(worker_labels=A), group(members=["vm-1"]), repository(worker_labels=A), flow())
    (changed,) = when(house, c.UpdateRepository(id="repo-1", patch=RepositoryPatch(worker_labels=B)))
    assert changed.worker_labels == B


@pytest.mark.parametrize(
    "command",
    [
        c.CreateVm(id="new", spec=VmSpec(vm_name="web")),
        c.CreateGroup(id="new", spec=GroupSpec(name="all", members=[Member(context_id="vm-1")])),
        c.CreateSchedule(id="new", spec=ScheduleSpec(name="s", cron_expression="@daily", timezone="Europe/Berlin")),
        c.CreateRepository(id="new", spec=RepositorySpec(name="r", type="directory", location="/x")),
        c.CreatePolicy(id="new", spec=PolicySpec(name="p", keep_last=3)),
        c.CreateFlow(id="new", spec=FlowSpec(**FLOW, policy_id="policy-1", schedule_id="schedule-1")),
    ],
    ids=c.definition_kind,
)
def test_create(command: c.Create) -> None:
    catalogue = house()
    (born,) = when(catalogue, command)
    assert (born.id, born.version, born.created_at, born.created_by) == ("new", 1, LATER, "eve")
    assert catalogue.of(c.definition_kind(command))["new"] == born
    again = decide(catalogue, command, actor="eve", time=LATER)
    assert isinstance(again, Rejected)
    assert again.code == "conflict"


@pytest.mark.parametrize(
    ("command", "code", "field"),
    [
        (c.CreateFlow(id="n", spec=FlowSpec(**FLOW | {"name": "flow-1"})), "conflict", "name"),
        (c.CreateFlow(id="n", spec=FlowSpec(**FLOW | {"target_id": "nope"})), "invalid", "target_id"),
        (c.CreateFlow(id="n", spec=FlowSpec(**FLOW | {"target_type": "vm"})), "invalid", "target_id"),
        (c.CreateFlow(id="n", spec=FlowSpec(**FLOW | {"repository_id": None})), "invalid", "repository_id"),
        (c.CreateFlow(id="n", spec=FlowSpec(**FLOW | {"repository_id": "nope"})), "invalid", "repository_id"),
        (c.CreateFlow(id="n", spec=FlowSpec(**FLOW, policy_id="nope")), "invalid", "policy_id"),
        (c.CreateFlow(id="n", spec=FlowSpec(**FLOW, schedule_id="nope")), "invalid", "schedule_id"),
        (c.CreateFlow(id="n", spec=FlowSpec(**FLOW | {"flow_type": "replication"})), "invalid", "destination_type"),
        (
            c.CreateSchedule(id="n", spec=ScheduleSpec(name="s", cron_expression="0 0 31 2 *")),
            "invalid",
            "cron_expression",
        ),
        (
            c.CreateSchedule(id="n", spec=ScheduleSpec(name="s", cron_expression="@daily", timezone="X")),
            "invalid",
            "timezone",
        ),
        (c.CreateGroup(id="n", spec=GroupSpec(name="g", members=[Member(context_id="x")])), "invalid", "context_id"),
        (
            c.CreateGroup(id="n", spec=GroupSpec(name="g", members=[Member(context_id="vm-1")] * 2)),
            "invalid",
            "members",
        ),
        (
            c.CreateRepository(id="n", spec=RepositorySpec(name="r", type="directory", location="x")),
            "invalid",
            "location",
        ),
        (c.CreateVm(id="n", spec=VmSpec(vm_name="v", disks=[Disk(disk_id="d", path="x")])), "invalid", "disks"),
        (c.CreateVm(id="n", spec=VmSpec(vm_name="v", disks=[Disk(disk_id="d", path="/x")] * 2)), "invalid", "disks"),
        (c.UpdateFlow(id="nope", patch=FlowPatch()), "not_found", None),
        (c.UpdateFlow(id="flow-1", patch=FlowPatch(priority=1), if_version=2), "version", None),
        (c.UpdateRepository(id="repo-1", patch=RepositoryPatch(name="repo-1"), if_version=9), "version", None),
        (c.DeleteVm(id="vm-1"), "in_use", None),
        (c.DeleteGroup(id="group-1"), "in_use", None),
        (c.DeleteRepository(id="repo-1"), "in_use", None),
        (c.AddMember(id="group-1", member=Member(context_id="vm-1")), "conflict", "context_id"),
        (c.AddMember(id="group-1", member=Member(context_id="nope")), "invalid", "context_id"),
        (c.RemoveMember(id="group-1", context_id="vm-2"), "not_found", None),
    ],
)
def test_refusals(command: c.Command, code: str, field: str | None) -> None:
    catalogue = house()
    no = when(catalogue, command)
    assert isinstance(no, Rejected)
    assert (no.code, no.field, no.entity, no.id) == (code, field, c.definition_kind(command), command.id)


def test_many_members_are_added_together() -> None:
    (changed,) = when(house(), c.AddMembers(id="group-1", members=[Member(context_id="vm-2")]))
    assert [member.context_id for member in changed.members] == ["vm-1", "vm-2"]
    both = [Member(context_id="vm-2"), Member(context_id="vm-1")]
    no = when(house(), c.AddMembers(id="group-1", members=both))
    assert (no.code, no.field) == ("conflict", "context_id")
    no = when(house(), c.AddMembers(id="group-1", members=[Member(context_id="vm-2")] * 2))
    assert (no.code, no.field) == ("conflict", "context_id")


def test_a_groups_schedule_is_one_and_is_let_go_of() -> None:
    catalogue = given(vm(), schedule(), group(members=["vm-1"], schedule_id="schedule-1"))
    no = when(catalogue, c.UpdateGroup(id="group-1", patch=GroupPatch(schedule_id="nothing")))
    assert (no.code, no.field) == ("invalid", "schedule_id")
    no = when(catalogue, c.DeleteSchedule(id="schedule-1"))
    assert no.code == "in_use"
    assert "group 'group-1'" in no.reason
    (freed, _) = when(catalogue, c.DeleteSchedule(id="schedule-1", detach=True))
    assert (freed.schedule_id, freed.version) == (None, 2)


def test_all_that_is_wrong_is_named_at_once() -> None:
    references = {"target_id": "a", "repository_id": "b", "policy_id": "c", "schedule_id": "d"}
    no = when(house(), c.CreateFlow(id="n", spec=FlowSpec(**FLOW | references | {"name": "flow-1"})))
    assert (no.code, no.field) == ("invalid", "target_id")
    assert [one.field for one in no.fields] == [*references, "name"]
    assert no.reason.startswith("target_id: there is no group 'a'; repository_id: there is no repository 'b'; ")
    spec = ScheduleSpec(name="s", cron_expression="whenever", more_expressions=["never"], timezone="X")
    no = when(house(), c.CreateSchedule(id="n", spec=spec))
    assert [one.field for one in no.fields] == ["timezone", "cron_expression", "more_expressions"]
    members = [Member(context_id=f"no-{number}") for number in range(300)]
    no = when(house(), c.CreateGroup(id="n", spec=GroupSpec(name="g", members=members)))
    assert len(no.fields) == 100


def test_one_thing_that_is_wrong_is_said_as_before() -> None:
    no = when(house(), c.CreateFlow(id="n", spec=FlowSpec(**FLOW | {"target_id": "a"})))
    assert (no.reason, no.field, no.fields) == ("there is no group 'a'", "target_id", [])


def test_a_refusal_to_delete_names_the_users() -> None:
    no = when(house(), c.DeleteRepository(id="repo-1"))
    assert "flow 'flow-1'" in no.reason


def test_update_changes_what_it_names_and_counts_up() -> None:
    catalogue = house()
    before = catalogue.flows["flow-1"]
    (after,) = when(catalogue, c.UpdateFlow(id="flow-1", patch=FlowPatch(priority=7), if_version=1))
    assert after == structs.replace(before, priority=7, version=2, updated_at=LATER)


def test_asking_for_what_is_so_answers_with_what_is_so() -> None:
    catalogue = house()
    assert when(catalogue, c.EnableFlow(id="flow-1")) == [catalogue.flows["flow-1"]]
    assert catalogue.flows["flow-1"].version == 1


def test_a_flow_may_keep_its_own_name_and_a_freed_name_is_free() -> None:
    catalogue = house()
    when(catalogue, c.UpdateFlow(id="flow-1", patch=FlowPatch(name="flow-1", priority=1)))
    when(catalogue, c.UpdateFlow(id="flow-1", patch=FlowPatch(name="other")))
    (born,) = when(catalogue, c.CreateFlow(id="n", spec=FlowSpec(**FLOW | {"name": "flow-1"})))
    assert born.name == "flow-1"


def test_what_changes_when_a_flow_fires_arms_it_anew_and_nothing_else_does() -> None:
    catalogue = house()
    arm = lambda command: when(catalogue, command)[0].armed_at  # noqa: E731
    assert arm(c.UpdateFlow(id="flow-1", patch=FlowPatch(priority=3))) == T0
    assert arm(c.UpdateFlow(id="flow-1", patch=FlowPatch(schedule_id="schedule-1"))) == LATER
    assert arm(c.UpdateSchedule(id="schedule-1", patch=SchedulePatch(name="new name"))) == T0
    assert arm(c.UpdateSchedule(id="schedule-1", patch=SchedulePatch(timezone="Europe/Berlin"))) == LATER
    catalogue = house()
    assert arm(c.DisableFlow(id="flow-1")) == T0
    assert arm(c.EnableFlow(id="flow-1")) == LATER


def test_members() -> None:
    catalogue = house()
    (changed,) = when(catalogue, c.AddMember(id="group-1", member=Member(context_id="vm-2", priority=5)))
    assert [member.context_id for member in changed.members] == ["vm-1", "vm-2"]
    (changed,) = when(catalogue, c.UpdateMember(id="group-1", context_id="vm-2", enabled=False))
    assert changed.members[1] == Member(context_id="vm-2", enabled=False, priority=5)
    (changed,) = when(catalogue, c.RemoveMember(id="group-1", context_id="vm-1"))
    assert [member.context_id for member in changed.members] == ["vm-2"]
    (changed,) = when(catalogue, c.UpdateGroup(id="group-1", patch=GroupPatch(name="g")))
    assert [member.context_id for member in changed.members] == ["vm-2"]


def test_delete_leaves_a_tombstone() -> None:
    catalogue = house()
    assert when(catalogue, c.DeleteFlow(id="flow-1")) == [None]
    assert catalogue.flows == {}
    assert when(catalogue, c.DeleteRepository(id="repo-1")) == [None]
    assert isinstance(when(catalogue, c.DeleteFlow(id="flow-1")), Rejected)


def test_detach_frees_the_flows_in_the_same_breath() -> None:
    catalogue = given(vm(), group(), repository(), schedule(), flow(schedule_id="schedule-1"))
    assert when(catalogue, c.DeleteSchedule(id="schedule-1")).code == "in_use"
    freed, gone = when(catalogue, c.DeleteSchedule(id="schedule-1", detach=True))
    assert (freed.schedule_id, freed.version, gone) == (None, 2, None)


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_a_freeze_is_at_most_a_year_long() -> None:
    until = LATER + timedelta(days=366)
    (frozen,) = when(house(), c.SetFreeze(id=ENGINE, until=until, reason="closing"))
    assert frozen.until == until
    no = when(house(), c.SetFreeze(id=ENGINE, until=until + timedelta(seconds=1), reason="closing"))
    assert (no.code, no.field) == ("invalid", "until")
    assert "at most 366 days" in no.reason


def test_a_schedule_that_would_never_fire_is_refused_and_one_that_is_there_may_be_disabled() -> None:
    never = {"cron_expression": "0 2 * * *", "exclusions": [Exclusion(name="x", first_date=date(2000, 1, 1))]}
    no = when(house(), c.CreateSchedule(id="s", spec=ScheduleSpec(name="s", **never)))
    assert (no.code, no.field) == ("invalid", "exclusions")
    assert "never fire" in no.reason
    no = when(house(), c.UpdateSchedule(id="schedule-1", patch=SchedulePatch(exclusions=never["exclusions"])))
    assert (no.code, no.field) == ("invalid", "exclusions")
    for there in (never, {"cron_expression": "not one"}):
        catalogue = given(schedule(**there))
        (renamed,) = when(catalogue, c.UpdateSchedule(id="schedule-1", patch=SchedulePatch(name="another")))
        assert renamed.name == "another"
        (off,) = when(catalogue, c.DisableSchedule(id="schedule-1"))
        assert not off.enabled


def test_a_group_has_at_most_ten_thousand_members_and_one_with_more_may_shrink() -> None:
    ids = [f"vm-{number}" for number in range(10_002)]
    catalogue = given(*map(vm, ids))
    members = [Member(context_id=id_) for id_ in ids]
    no = when(catalogue, c.CreateGroup(id="g", spec=GroupSpec(name="g", members=members[:10_001])))
    assert (no.code, no.field) == ("invalid", "members")
    assert "10,001" in no.reason
    (made,) = when(catalogue, c.CreateGroup(id="g", spec=GroupSpec(name="g", members=members[:10_000])))
    assert len(made.members) == 10_000
    no = when(catalogue, c.AddMember(id="g", member=members[10_000]))
    assert (no.code, no.field) == ("invalid", "members")
    catalogue.evolve(group("old", members=ids))
    (smaller,) = when(catalogue, c.RemoveMember(id="old", context_id="vm-0"))
    assert len(smaller.members) == 10_001
    (off,) = when(catalogue, c.DisableGroup(id="old"))
    assert not off.enabled


class Compared(str):
    """An id that counts how often ids are compared."""

    __slots__ = ()
    times = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)


def test_what_is_named_twice_is_found_without_comparing_all_with_all() -> None:
    ids = [f"vm-{number}" for number in range(1_000)]
    members = [Member(context_id=Compared(id_)) for id_ in [*ids, "vm-7"]]
    Compared.times = 0
    no = when(given(*map(vm, ids)), c.CreateGroup(id="g", spec=GroupSpec(name="g", members=members)))
    assert no.reason == "VM 'vm-7' is named twice"
    assert Compared.times < 10 * len(members)
