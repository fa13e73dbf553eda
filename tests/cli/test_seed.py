"""Variables that seed the engine's settings: once, whoever is first; from then on the log counts."""

from __future__ import annotations

import asyncio
import logging

import pytest

from cli import seed as seeding
from cli.seed import ACTOR, seed
from cli.settings import from_environment
from schemas import commands as c
from schemas.definitions import SettingsPatch
from schemas.ids import ENGINE
from services.registry.app import Registry
from tests.services.conftest import Engine, engine

__all__ = ["engine"]

BOTH = {"max_concurrent_jobs": 4, "keep_days": 30}


async def test_many_processes_that_start_at_once_seed_once(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    async with engine.running(Registry()):
        await asyncio.gather(*(seed(engine.server.url, BOTH) for _ in range(6)))
        commands = await engine.log.read(["command.settings.update"])
        seeds = [(one.envelope.id, one.envelope.actor) for one in commands]  # type: ignore[union-attr]
        assert seeds == [(f"settings:seed:{name}", ACTOR) for name in BOTH]
        last = (await engine.messages("catalog.settings.*"))[-1]  # it is there already: `seed` has waited for it
        assert (last.definition.max_concurrent_jobs, last.definition.keep_days) == (4, 30)
        assert (last.version, last.definition.updated_by) == (2, ACTOR)
        await seed(engine.server.url, BOTH)
        assert len(await engine.messages("command.settings.update")) == 2
        await engine.log.append([one.envelope for one in commands], expect={})  # type: ignore[union-attr]
        await seed(engine.server.url, BOTH)  # what is there again has no effect, and is not waited for
    assert told(caplog) == []


async def test_processes_that_know_one_variable_each_seed_both(engine: Engine) -> None:
    async with engine.running(Registry()):
        for name, value in BOTH.items():
            await seed(engine.server.url, {name: value})
        last = (await engine.messages("catalog.settings.*"))[-1].definition
        assert (last.max_concurrent_jobs, last.keep_days) == (4, 30)


async def test_what_a_person_has_set_counts_and_a_variable_that_differs_is_told(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine.running(Registry()):
        await engine.ask(c.UpdateSettings(id=ENGINE, patch=SettingsPatch(keep_days=30)))
        await engine.until("catalog.settings.*")
        await seed(engine.server.url, BOTH)
        (line,) = told(caplog)
        assert line.startswith("FLOWS_MAX_CONCURRENT_JOBS is 4, and the log's setting max_concurrent_jobs is none:")
        assert len(await engine.messages("command.settings.update")) == 1


async def test_what_was_seeded_and_then_lifted_is_not_seeded_again(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine.running(Registry()):
        await seed(engine.server.url, {"keep_days": 30})
        await engine.ask(c.UpdateSettings(id=ENGINE, patch=SettingsPatch(keep_days=None)))
        await engine.until("catalog.settings.*", 2)
        await seed(engine.server.url, {"keep_days": 30})
        assert (await engine.messages("catalog.settings.*"))[-1].definition.keep_days is None
        assert [one.partition(",")[0] for one in told(caplog)] == ["FLOWS_KEEP_DAYS is 30"]


async def test_without_a_registry_the_seed_waits_on_the_log_and_nothing_else_does(
    engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeding, "PATIENCE", 0.1)
    for value in (30, 60):
        await seed(engine.server.url, {"keep_days": value})
    (command,) = await engine.messages("command.settings.update")
    assert command.patch.keep_days == 30
    assert [one.partition(":")[0] for one in told(caplog)] == [
        "no registry has answered within 0 s",
        "no registry has answered within 0 s",
        "FLOWS_KEEP_DAYS is 60, and the log's setting keep_days is 30",
    ]


async def test_roots_are_seeded_too(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    async with engine.running(Registry()):
        for _ in range(2):
            await seed(engine.server.url, {"repository_roots": ["/srv/backups"]})
        (event,) = await engine.messages("catalog.settings.*")
        assert event.definition.repository_roots == ["/srv/backups"]
        assert told(caplog) == []
        await seed(engine.server.url, {"disk_roots": ["/etc"]})  # refused by the registry, and told
        (line,) = told(caplog)
        assert line.startswith("FLOWS_DISK_ROOTS is ['/etc'], and the log's setting disk_roots is none:")


async def test_without_variables_the_log_is_not_even_asked() -> None:
    await seed("nats://127.0.0.1:1", {})


def test_variables_are_read_and_wrong_ones_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWS_KEEP_DAYS", raising=False)
    monkeypatch.setenv("FLOWS_MAX_CONCURRENT_JOBS", "2")
    assert from_environment().seeds == {"max_concurrent_jobs": 2}
    monkeypatch.setenv("FLOWS_DISK_ROOTS", "/srv/vms:/mnt/images:")
    assert from_environment().seeds == {"max_concurrent_jobs": 2, "disk_roots": ["/srv/vms", "/mnt/images"]}
    monkeypatch.setenv("FLOWS_KEEP_DAYS", "99999")
    with pytest.raises(ValueError, match="FLOWS_KEEP_DAYS is 99999: Expected `int` <= 36500"):
        from_environment()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING and one.name == "cli.seed"]
