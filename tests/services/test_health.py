"""What heartbeats say about services, and what services' heartbeats are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from bus.checkpoint import Status
from bus.log import Log
from services import health, heartbeat
from services.health import NEEDED, Heartbeat, State, assess, key_of
from services.heartbeat import Heartbeats, Process
from services.registry.app import Registry
from tests.services.conftest import Engine
from tests.services.house import house
from tests.support import T0, eventually, sent


def status(service: str = "worker", age: float = 1, **given: Any) -> Status:
    """Return a heartbeat of a process that was started an hour ago."""
    fields = {"instance": "h-7", "host": "h", "pid": 7, "version": "1", "position": 50, **given}
    fields.setdefault("started_at", T0 - timedelta(hours=1))
    value = msgspec.to_builtins(Heartbeat(service=service, **fields))
    return Status(value=value, at=T0 - timedelta(seconds=age))


JUST = T0 - timedelta(seconds=30)


@pytest.mark.parametrize(
    ("given", "state", "told"),
    [
        ({}, "running", ""),
        ({"age": 14.9}, "running", ""),
        ({"age": 15.1}, "hung", "process 7 on h has not been heard for 15 s"),
        ({"age": 60}, "hung", "60 s"),
        ({"age": 61}, "gone", "last heard 61 s ago"),
        ({"lag": 999, "earlier_lag": 10}, "running", ""),
        ({"lag": 5000, "earlier_lag": 5000}, "behind", "5,000 messages behind the log"),
        ({"lag": 5000, "earlier_lag": 5001}, "running", ""),
        ({"lag": 1, "stalled": 29.0}, "running", ""),
        ({"lag": 1, "stalled": 31.0}, "behind", "at message 50 for 31 s"),
        ({"position": None}, "behind", "is starting"),
        ({"restarts": 1, "started_at": JUST}, "running", ""),
        ({"restarts": 2, "started_at": JUST}, "restarting", "2 times again"),
        ({"restarts": 9, "started_at": T0 - timedelta(minutes=11)}, "running", ""),
        ({"restarts": 2, "started_at": JUST, "position": None}, "restarting", ""),
        ({"restarts": 2, "started_at": JUST, "age": 29}, "restarting", ""),  # it waits for its next start
        ({"restarts": 2, "started_at": JUST, "age": 61}, "gone", ""),
    ],
)
def test_the_state_of_one_instance(given: dict[str, Any], state: State, told: str) -> None:
    found = assess({"k": status(**given)}, T0)["worker"]
    assert found.state == state
    assert told in found.text
    assert (found.text == "") == (state == "running")


def test_a_service_is_as_well_as_its_best_instance_and_is_gone_when_it_has_none() -> None:
    found = assess({"a": status(age=20), "b": status(), "c": status(age=70), "d": status("api")}, T0)
    assert [*found] == [*NEEDED, "api"]
    assert [one.state for one in found["worker"].instances] == ["running", "hung", "gone"]
    assert (found["worker"].state, found["api"].state, found["recorder"].state) == ("running", "running", "gone")


def test_what_is_no_heartbeat_says_nothing() -> None:
    assert assess({"k": Status(value={"of": "another version"}, at=T0)}, T0) == assess({}, T0)


def test_keys_have_no_characters_that_the_bucket_refuses() -> None:
    assert key_of("worker", "a b/ü-1.x") == "service.worker.a_b__-1.x"
    assert key_of("worker", "h-1").startswith(key_of("worker"))


async def state(log: Log, service: str) -> health.Health:
    return assess(await log.statuses(health.PREFIX), await log.time())[service]


async def test_a_service_tells_its_position_and_takes_leave(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.2)
    async with engine.running(Registry()):
        last = (await engine.ask(*house(vms=2)))[-1]

        async def read() -> bool:
            found = await state(engine.log, "registry")
            return found.state == "running" and (found.instances[0].heartbeat.position or 0) >= last

        await eventually(read)
    assert (await state(engine.log, "registry")).instances == ()


async def test_who_does_not_advance_is_stalled_and_what_it_does_not_read_is_no_lag(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.05)
    position = 0
    beats = Heartbeats(log, "registry", ["catalog.*.*"], lambda: position, Process(instance="one", restarts=3))
    beats.start()
    command, *_ = house(vms=1)
    await log.publish_once(sent(command))
    await beats.give()
    (one,) = (await state(log, "registry")).instances
    assert (one.heartbeat.lag, one.heartbeat.restarts) == (0, 3)

    everything = Heartbeats(log, "recorder", [">"], lambda: position, Process())
    everything.start()
    monkeypatch.setattr(health, "STALLED", 0.1)

    async def stalled() -> bool:
        await everything.give()
        return (await state(log, "recorder")).state == "behind"

    await eventually(stalled)
    position = 1
    await everything.give()
    assert (await state(log, "recorder")).state == "running"


async def test_heartbeats_that_nobody_renews_are_removed_in_the_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.log.put_status(key_of("registry", "old"), status("registry").value)
    await engine.log.put_status(key_of("worker", "other"), status("worker").value)
    monkeypatch.setattr(heartbeat, "KEPT", -1.0)
    async with engine.running(Registry()):

        async def removed() -> bool:
            return key_of("registry", "old") not in await engine.log.statuses(health.PREFIX)

        await eventually(removed)
        assert key_of("worker", "other") in await engine.log.statuses(health.PREFIX)
