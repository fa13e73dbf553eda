"""`flows apply` says all that is wrong with a document before it shows or makes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.inside import Done, called
from tests.running import Client

pytestmark = pytest.mark.server


def applied(folder: Path, document: Any, *options: str) -> Done:
    file = folder / "flows.yaml"
    file.write_text(yaml.safe_dump(document))
    return called("apply", "--file", str(file), *options)


def whole(name: str) -> dict[str, Any]:
    """Return a document in which everything is new and right."""
    return {
        "vms": [{"context_id": name, "vm_name": name}],
        "groups": [{"name": name, "members": [{"context_id": name}]}],
        "schedules": [{"name": name, "cron_expression": "0 2 * * *"}],
        "repositories": [{"name": name, "type": "simulated", "location": "/x"}],
        "policies": [{"name": name, "keep_last": 3}],
        "flows": [
            {
                "name": name,
                "flow_type": "backup",
                "target_type": "group",
                "target": name,
                "repository": name,
                "schedule": name,
                "policy": name,
            }
        ],
    }


FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "an unknown field": ("flows", {"colour": "red"}, "flows {name!r}: there is no field 'colour'; there are name,"),
    "a field of the API": ("flows", {"target_id": "x"}, "flows {name!r}: there is no field 'target_id'; do you mean"),
    "no target": ("flows", {"target": None}, "flows {name!r}: target_id: this field is required"),
    "an unknown target": ("flows", {"target": "y"}, "flows {name!r}: target: there is no 'y' among the groups"),
    "a target that is no name": ("flows", {"target": ["y"]}, "flows {name!r}: target: there is no ['y'] among"),
    "an unknown policy": ("flows", {"policy": "p"}, "flows {name!r}: policy: there is no 'p' among the policies"),
    "an enumeration": ("flows", {"overlap_policy": "z"}, "flows {name!r}: overlap_policy: it must be one of skip,"),
    "a type": ("policies", {"keep_last": "many"}, "policies {name!r}: keep_last: Expected `int | null`, got `str`"),
    "a cron expression": ("schedules", {"cron_expression": "99 * * * *"}, "schedules {name!r}: cron_expression: "),
    "a time zone": ("schedules", {"timezone": "Mars/Base"}, "schedules {name!r}: timezone: "),
    "an unknown member": ("groups", {"members": [{"context_id": "nobody"}]}, "groups {name!r}: context_id: there is"),
    "an engine": ("repositories", {"type": "tape"}, "repositories {name!r}: type: it must be one of directory,"),
    "a disk": ("vms", {"disks": [{"disk_id": "d", "path": "d.raw"}]}, "vms {name!r}: disks: the path 'd.raw' of disk"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_apply_names_what_is_wrong_and_makes_nothing(here: Path, api: Client, unique: str, fault: str) -> None:
    section, wrong, says = FAULTS[fault]
    document = whole(unique)
    document[section][0] |= wrong
    done = applied(here, document)
    assert (done.code, done.out) == (1, "")
    assert f"flows: {says.format(name=unique)}" in done.err
    assert "'None'" not in done.err
    assert "Traceback" not in done.err
    assert done.err.splitlines()[-1] == f"flows: 1 fault in {here / 'flows.yaml'}: nothing was changed"
    assert api.get("/policies", params={"q": unique})["total"] == 0


def test_apply_names_all_faults_at_once(here: Path, unique: str) -> None:
    document = whole(unique)
    document["vms"][0] |= {"cpu_count": -1, "disk": []}
    document["flows"][0] |= {"repository": "nowhere"}
    done = applied(here, document, "--dry-run")
    assert [line.split(": ")[1:3] for line in done.err.splitlines()[:-1]] == [
        [f"vms {unique!r}", "there is no field 'disk'; do you mean 'disks'?"],
        [f"vms {unique!r}", "cpu_count"],
        [f"flows {unique!r}", "repository"],
    ]
    assert "3 faults" in done.err.splitlines()[-1]


def test_a_plan_that_is_shown_can_be_made(here: Path, unique: str) -> None:
    document = whole(unique)
    document["schedules"][0]["exclusions"] = [{"name": "weekend", "weekdays": ["sat", "sun"]}]
    document["vms"][0]["disks"] = [{"disk_id": "disk0", "path": "/srv/disk0.raw"}]
    document["schedules"][0]["start_date"] = yaml.safe_load("2026-01-01")  # a date of YAML's own
    planned = applied(here, document, "--dry-run")
    assert (planned.code, planned.out.count("+ ")) == (0, 6)
    assert applied(here, document).out.splitlines()[-1] == "6 changes made"
    assert applied(here, document).out == "nothing to do\n"


def test_changes_are_tried_on_what_is_there(here: Path, unique: str) -> None:
    document = whole(unique)
    assert applied(here, document).code == 0
    changed = yaml.safe_load(yaml.safe_dump(document))
    changed["repositories"][0]["type"] = "directory"
    changed["groups"][0]["members"] = [{"context_id": "nobody"}]
    changed["schedules"][0] |= {"cron_expression": "0 0 31 2 *", "zone": "UTC"}
    done = applied(here, changed)
    assert (done.code, done.out) == (1, "")
    assert f"groups {unique!r}: members: there is no VM 'nobody'" in done.err
    assert "type: it cannot be changed" in done.err
    assert "cron_expression: " in done.err
    assert "there is no field 'zone'; do you mean 'timezone'?" in done.err
    assert "4 faults" in done.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("flows: 3", "flows must be a list"),
        ("flows: [3]", "flows[0] has no 'name'"),
        ("boats: []", "must have lists named vms, schedules"),
        ("flows: [{name: a}, {name: a}]", "'a' is there twice"),
        ("{", "is no YAML"),
    ],
)
def test_what_is_no_document_is_one_line(here: Path, text: str, says: str) -> None:
    (here / "flows.yaml").write_text(text)
    done = called("apply", "--file", str(here / "flows.yaml"))
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert says in done.err
