"""Engines by registration: one more is known everywhere by its line, and its rules are asked without importing it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from schemas import commands as c
from schemas import tables as t
from schemas.definitions import Repository, RepositoryPatch, RepositorySpec
from schemas.events import BackupRequested, RepositoryDefined
from services.catalogue import Catalogue
from services.executor.app import Executor
from services.registry.app import Registry
from services.registry.changes import changes
from services.worker.app import Worker
from services.worker.engines import registration
from services.worker.engines.engine import Engine as BackupEngine
from services.worker.engines.engine import Report, Result
from services.worker.engines.loading import load
from services.worker.engines.registration import ENGINES, Registration, validate
from services.worker.engines.rules import Config, Invalid, Rules
from tests.running import ROOT
from tests.services.conftest import Engine
from tests.services.house import built, house
from tests.support import T0, repository


class Tiny:
    """An engine as somebody adds it."""

    async def backup(self, request: BackupRequested, attempt: int, report: Report) -> Result:
        return Result(bytes_read=3, bytes_transferred=2, snapshot_ref=f"{request.location}/{request.context_id}")

    async def discard(self, request: BackupRequested, *, keep: str | None) -> None: ...


def tiny(location: str, config: Config) -> Invalid | None:
    return None if location.startswith("tiny:") else Invalid(field="location", reason="it must begin with tiny:")


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Registration(rules=Rules(validate=tiny, on_disk=False), engine=f"{__name__}:Tiny")
    monkeypatch.setitem(registration.ENGINES, "tiny", line)


@pytest.mark.usefixtures("registered")
async def test_an_engine_is_added_by_its_line(engine: Engine) -> None:
    commands = house(vms=2)
    place = next(number for number, one in enumerate(commands) if isinstance(one, c.CreateRepository))
    spec = RepositorySpec(name="repository", type="tiny", location="tiny:here")
    commands[place] = c.CreateRepository(id="repository", spec=spec)
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        elsewhere = RepositorySpec(name="elsewhere", type="tiny", location="/x")
        await engine.ask(c.CreateRepository(id="elsewhere", spec=elsewhere))
        (no,) = await engine.until("rejected.repository.create")
        assert (no.code, no.field, no.reason) == ("invalid", "location", "it must begin with tiny:")
        await built(engine, commands)
        await engine.ask(c.ExecuteFlow(id="flow"))
        (end,) = await engine.until("flow.completed.*")
        assert (end.status, end.jobs_completed) == ("success", 2)
        assert {asked.engine for asked in await engine.messages("backup.requested.>")} == {"tiny"}
        await engine.recorded()
    assert {row["snapshot_ref"] for row in await engine.rows(select(t.backup_jobs))} == {
        "tiny:here/vm-0",
        "tiny:here/vm-1",
    }
    assert [row["type"] for row in await engine.rows(select(t.repositories))] == ["tiny"]


async def test_an_unknown_engine_is_refused_with_the_names_of_those_that_there_are(engine: Engine) -> None:
    async with engine.running(Registry()):
        await engine.ask(c.CreateRepository(id="r", spec=RepositorySpec(name="r", type="tape", location="/x")))
        (no,) = await engine.until("rejected.repository.create")
    assert (no.code, no.field, no.reason) == ("invalid", "type", "it must be one of directory, simulated")


@pytest.mark.parametrize(
    ("name", "location", "config", "field"),
    [
        ("directory", "/x", {}, None),
        ("directory", "x", {}, "location"),
        ("directory", "/x", {"note": "of ours"}, None),
        ("simulated", "anywhere", {"seconds": 1.5, "bytes": 7, "failure_rate": 1, "seed": "x"}, None),
        ("simulated", "anywhere", {"seconds": "long"}, "config.seconds"),
        ("simulated", "anywhere", {"seconds": -1}, "config.seconds"),
        ("simulated", "anywhere", {"failure_rate": 1.01}, "config.failure_rate"),
        ("simulated", "anywhere", {"bytes": 10**30}, "config.bytes"),
        ("simulated", "anywhere", {"key_env": "OURS"}, None),
    ],
)
def test_the_rules_of_each_engine(name: str, location: str, config: dict[str, Any], field: str | None) -> None:
    invalid = validate(name, location, config)
    assert (invalid and invalid.field) == field


def test_no_rule_shows_a_settings_value() -> None:
    invalid = validate("simulated", "/x", {"seconds": "hunter2"})
    assert invalid is not None
    assert "hunter2" not in invalid.reason


def test_a_repository_from_before_a_rule_may_still_be_disabled() -> None:
    catalogue = Catalogue()
    catalogue.evolve(repository("old", type="tape", config={"odd": 1}))

    def decided(command: c.Command) -> Any:
        return changes(catalogue, command, actor="eve", time=T0)

    (disabled,) = decided(c.DisableRepository(id="old"))
    assert not disabled.definition.enabled
    no = decided(c.UpdateRepository(id="old", patch=RepositoryPatch(config={"odd": 2})))
    assert (no.code, no.field) == ("invalid", "type")


def test_every_registered_engine_can_be_loaded() -> None:
    loaded: dict[str, BackupEngine] = load()
    assert list(loaded) == list(ENGINES) == ["directory", "simulated"]
    assert [type(one).__name__ for one in loaded.values()] == ["DirectoryEngine", "SimulatedEngine"]


@pytest.mark.server
def test_the_registry_imports_no_engine() -> None:
    program = "import sys, services.registry.app\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert "services.worker.engines.directory.rules" in modules
    assert modules & {"zstandard", "services.worker.app", "services.worker.engines.directory.engine"} == set()


def test_what_the_log_says_of_engines_that_are_gone_is_still_read() -> None:
    told = {
        "type": "catalog.repository",
        "id": "r",
        "version": 1,
        "definition": {
            "id": "r",
            "version": 1,
            "created_by": "eve",
            "name": "r",
            "type": "tape",
            "location": "/dev/st0",
            "created_at": "2026-10-09T02:00:00Z",
            "updated_at": "2026-10-09T02:00:00Z",
        },
    }
    repository = msgspec.convert(told, RepositoryDefined).definition
    assert isinstance(repository, Repository)
    assert repository.type == "tape"
