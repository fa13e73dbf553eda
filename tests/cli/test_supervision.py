"""What supervises children: whether they live, and what they are told."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest

from bus.log import Log
from bus.server import Server
from cli import watchdog
from cli.notify import Notifier
from cli.settings import Watchdog as Expected
from cli.settings import as_environment_of_child, from_environment
from cli.supervision import Child
from cli.watchdog import PAUSED, SILENCE, STARTING, Watchdog
from services.health import PREFIX, Health, assess
from tests.support import eventually


def say(listener: Watchdog, text: str) -> None:
    address = listener.environment["NOTIFY_SOCKET"].replace("@", "\0")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(text.encode(), address)


@pytest.fixture
def listener() -> Watchdog:
    return Watchdog()


def silent_from(listener: Watchdog, now: float) -> float:
    """Return when a listener that is asked every few seconds says that its child is silent."""
    begun = now
    while not listener.silent(now):
        now += PAUSED / 4
        assert now < begun + 10 * STARTING
    return now


def test_a_child_has_longer_to_start_than_between_signs_of_life(listener: Watchdog) -> None:
    listener.begin(100.0)
    say(listener, "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000")
    assert not listener.started
    assert silent_from(listener, 101.0) == pytest.approx(101 + STARTING, abs=3)
    listener.begin(200.0)
    say(listener, "READY=1")
    assert silent_from(listener, 201.0) == pytest.approx(201 + SILENCE, abs=3)
    assert listener.started
    listener.close()


def test_what_the_one_before_has_said_is_no_sign_of_life_of_the_next(listener: Watchdog) -> None:
    say(listener, "READY=1")
    listener.begin(100.0)
    assert not listener.silent(101.0)
    assert not listener.started
    listener.close()


def test_a_supervisor_that_was_paused_itself_waits_anew(listener: Watchdog) -> None:
    listener.begin(100.0)
    say(listener, "READY=1")
    assert not listener.silent(101.0)
    assert not listener.silent(101.0 + 8 * 3600)  # a night
    assert silent_from(listener, 101.0 + 8 * 3600) == pytest.approx(101 + 8 * 3600 + SILENCE, abs=3)
    listener.close()


async def test_a_process_gives_signs_of_life_as_its_supervisor_expects(
    listener: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in as_environment_of_child("h-up", 3, {**listener.environment, "WATCHDOG_USEC": "200000"}).items():
        monkeypatch.setenv(name, value)
    settings = from_environment()
    assert (settings.instance, settings.restarts, settings.watchdog.seconds) == ("h-up", 3, 0.2)
    notifier = Notifier(settings.watchdog)
    notifying = asyncio.create_task(notifier.run())
    listener.begin(100.0)
    heard: list[str] = []

    async def alive() -> bool:
        heard.extend(listener._hear())
        return len(heard) > 3

    await eventually(alive)
    assert "WATCHDOG=1" in heard[0]
    notifier.started()
    assert not listener.silent(101.0)
    assert listener.started
    listener.close()
    await asyncio.sleep(0.1)  # not a wait: nobody hears it any more, and it goes on
    assert not notifying.done()
    notifying.cancel()


@pytest.mark.parametrize("process", ["", "this", "1"])
def test_what_systemd_expects_of_another_process_is_not_expected_of_this_one(
    process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    monkeypatch.setenv("WATCHDOG_USEC", "8000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if process == "this" else process)
    assert from_environment().watchdog == Expected(address="/run/x", seconds=None if process == "1" else 8.0)


async def test_a_service_that_ends_at_each_start_is_restarting(server: Server, log: Log, tmp_path: Path) -> None:
    env = {**os.environ, "FLOWS_NATS_URL": server.url, "FLOWS_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/no/db"}
    child = Child("recorder", tmp_path, env)
    try:

        async def recorder() -> Health:
            return assess(await log.statuses(PREFIX), await log.time())["recorder"]

        async def restarting() -> bool:
            child.check()
            return (await recorder()).state == "restarting"

        await eventually(restarting, within=60)
        assert len((await recorder()).instances) == 1  # not one for each start
    finally:
        child.stop(patience=5)


@pytest.mark.server
def test_a_child_that_stands_still_before_it_has_started_is_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "STARTING", 0.0)
    child = Child("registry", tmp_path, {**os.environ, "FLOWS_NATS_URL": "nats://127.0.0.1:1"})
    try:
        first = child.process.pid
        time.sleep(0.01)  # not a wait: for so long it gives no sign of life
        assert child.check() == "registry gave no sign of life for 0 s: killed, and started again"
        assert child.process.pid != first
    finally:
        child.stop(patience=5)
