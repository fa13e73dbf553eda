"""Where disks and repositories may be, and what the registry makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import ValidationError, convert

from schemas import commands as c
from schemas.definitions import Disk, RepositoryPatch, RepositorySpec, SettingsPatch, VmPatch, VmSpec
from schemas.ids import ENGINE
from services.catalogue import Catalogue
from services.registry.changes import changes
from services.roots import invalid, normal, refusal
from tests.support import T0, engine_settings, repository, vm


def decided(catalogue: Catalogue, command: c.Command, own: tuple[str, ...] = ()) -> Any:
    return changes(catalogue, command, actor="eve", time=T0, own=own)


def roots(**given: Any) -> Catalogue:
    catalogue = Catalogue()
    catalogue.evolve(engine_settings(**given))
    return catalogue


def with_disk(path: str) -> c.CreateVm:
    return c.CreateVm(id="new", spec=VmSpec(vm_name="new", disks=[Disk(disk_id="d", path=path)]))


def store(location: str, type: str = "directory") -> c.CreateRepository:
    return c.CreateRepository(id="new", spec=RepositorySpec(name="new", type=type, location=location))


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/srv/vms/a.raw", None),
        ("/srv/vms", None),
        ("//srv//./vms/x/../a.raw", None),
        ("/srv/vmsx/a.raw", "none of the disk_roots"),
        ("/srv/vms/../a.raw", "none of the disk_roots"),
        ("/etc/shadow", "lies in /etc"),
        ("/srv/vms/../../etc/shadow", "lies in /etc"),
        ("//etc/shadow", "lies in /etc"),
        ("/proc/self/mem", "lies in /proc"),
        ("/dev/shm/x", "lies in /dev"),
        ("/dev/sda", "the setting block_devices allows block devices"),
        ("/run/secrets/token", "lies in /run"),
        ("/var/run/x", "lies in /var/run"),
        ("/srv/vms/.ssh/id", "lies in /srv/vms/.ssh"),
        ("/srv/vms/data/flows.db", "lies in /srv/vms/data"),
        ("/srv/vms/data/demo/a.raw", None),
        ("/srv/vms/database", None),
    ],
)
def test_where_disks_may_be(path: str, why: str | None) -> None:
    found = refusal(path, "disk_roots", ["/srv/vms/"], ["/srv/vms/data"])
    assert (found is None) if why is None else (found and why in found)


def test_without_roots_only_some_places_are_refused() -> None:
    assert refusal("/anywhere/a.raw", "disk_roots", None) is None
    assert refusal("/run/media/eve/stick/a.raw", "disk_roots", None) is None
    assert refusal("/etc/a.raw", "disk_roots", None)
    assert refusal("/dev/vg/lv", "disk_roots", ["/srv"], block_devices=True) is None
    assert refusal("/dev/shm/x", "disk_roots", None, block_devices=True)
    assert refusal("/dev/../etc/shadow", "disk_roots", None, block_devices=True)
    assert refusal("/srv/a", "disk_roots", ["/"]) is None
    assert normal("//a/./b//../c/") == "/a/c"


def test_a_root_is_a_path_that_could_hold_something() -> None:
    assert invalid(["/srv", "/"]) is None
    assert "not an absolute path" in str(invalid(["/srv", "srv"]))
    assert "lies in /etc" in str(invalid(["/etc/vms"]))
    refused = decided(Catalogue(), c.UpdateSettings(id=ENGINE, patch=SettingsPatch(repository_roots=["srv"])))
    assert (refused.code, refused.field) == ("invalid", "repository_roots")
    for nonsense in ({"disk_roots": []}, {"disk_roots": "/srv"}, {"block_devices": None}):
        with pytest.raises(ValidationError):
            convert(nonsense, SettingsPatch)


def test_a_definition_outside_the_roots_is_refused_with_its_field() -> None:
    catalogue = roots(disk_roots=["/srv/vms"], repository_roots=["/srv/backups"])
    no = decided(catalogue, with_disk("/srv/other/d.raw"))
    assert (no.code, no.field) == ("invalid", "disks")
    assert no.reason == "disk 'd': /srv/other/d.raw lies in none of the disk_roots (/srv/vms)"
    no = decided(catalogue, store("/srv/vms"))
    assert (no.code, no.field) == ("invalid", "location")
    assert no.reason == "/srv/vms lies in none of the repository_roots (/srv/backups)"
    assert len(decided(catalogue, with_disk("/srv/vms/d.raw"))) == 1
    assert len(decided(catalogue, store("/srv/backups/a"))) == 1
    assert len(decided(catalogue, store("anywhere", "simulated"))) == 1  # its location is no folder


def test_the_engines_own_files_are_refused() -> None:
    own = ("/var/lib/flows", "/run/token")
    for command in (
        with_disk("/var/lib/flows/admin-token"),
        store("/var/lib/flows/jetstream"),
        with_disk("/etc/shadow"),
    ):
        assert decided(Catalogue(), command, own).code == "invalid"
    assert len(decided(Catalogue(), store("/var/lib/flows/demo/repository"), own)) == 1


def test_what_was_there_before_the_roots_stays_and_may_be_changed_otherwise() -> None:
    catalogue = Catalogue()
    old = Disk(disk_id="d", path="/old/d.raw")
    catalogue.evolve(vm("vm-1", disks=[old]))
    catalogue.evolve(repository("r", type="directory", location="/old"))
    catalogue.evolve(engine_settings(disk_roots=["/srv"], repository_roots=["/srv"]))
    renamed = c.UpdateVm(id="vm-1", patch=VmPatch(vm_name="other"))
    assert len(decided(catalogue, renamed)) == 1
    assert len(decided(catalogue, c.DisableRepository(id="r"))) == 1
    more = c.UpdateVm(id="vm-1", patch=VmPatch(disks=[old, Disk(disk_id="e", path="/old/e.raw")]))
    assert decided(catalogue, more).reason.startswith("disk 'e'")
    assert decided(catalogue, c.UpdateRepository(id="r", patch=RepositoryPatch(location="/older"))).field == "location"
