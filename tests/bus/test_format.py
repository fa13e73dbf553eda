"""A log that a newer version has set up: nobody of an older one works on it, and nothing of it is changed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bus import format as log_format
from bus.connection import Connection, connect
from bus.errors import NewerLog
from bus.log import Log
from bus.server import Server
from bus.setup import declare
from bus.subjects import STREAM
from services import database, heartbeat
from services.hosting import host_all
from services.recorder.app import Recorder
from services.recorder.store import Tables
from services.scheduler.app import Scheduler
from tests.servers import root


async def made_newer(client: Connection) -> None:
    """Do what the set-up of a version with a higher format does."""
    js = client.jetstream()
    config = (await js.stream_info(STREAM)).config
    await js.update_stream(config.evolve(metadata={**(config.metadata or {}), "flows_format": "2"}, description="new"))


async def test_the_log_carries_its_format(server: Server) -> None:
    client = await connect(root(server), "test")
    js = client.jetstream()
    await declare(js)
    assert ((await js.stream_info(STREAM)).config.metadata or {})["flows_format"] == str(log_format.FORMAT)
    config = (await js.stream_info(STREAM)).config
    await js.update_stream(config.evolve(metadata={"kept": "by others"}))  # as versions before formats made it
    await declare(js)
    metadata = (await js.stream_info(STREAM)).config.metadata or {}
    assert (metadata["flows_format"], metadata["kept"]) == ("1", "by others")
    await client.close()


async def test_an_older_version_refuses_a_newer_log_and_leaves_it_as_it_is(server: Server) -> None:
    client = await connect(root(server), "test")
    await declare(client.jetstream())
    log = await Log.open(client)
    await made_newer(client)
    with pytest.raises(NewerLog, match=r"its format is 2, and this version knows up to 1\. Start the newer version"):
        await Log.open(client)
    with pytest.raises(NewerLog):
        await log.identity()
    with pytest.raises(NewerLog):
        await declare(client.jetstream())
    assert (await client.jetstream().stream_info(STREAM)).config.description == "new"
    await client.close()


async def test_what_runs_when_a_newer_version_sets_the_log_up_ends(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.1)
    client = await connect(root(server), "test")
    await declare(client.jetstream())
    for service in (Scheduler(), Recorder(Tables(database.sqlite_url(tmp_path / "flows.db")))):
        started = asyncio.Event()
        hosting = asyncio.create_task(
            host_all([service], server.url, asyncio.Event(), on_start=lambda _, started=started: started.set())
        )
        async with asyncio.timeout(20):
            await started.wait()
        assert not hosting.done()
        await made_newer(client)
        with pytest.raises(NewerLog):
            async with asyncio.timeout(20):
                await hosting
        config = (await client.jetstream().stream_info(STREAM)).config
        await client.jetstream().update_stream(config.evolve(metadata={}))
    await client.close()


@pytest.mark.parametrize("text", ["2", "", "1.5", "next", "٣"])  # the last one is a digit of another script
def test_what_is_no_format_of_ours_is_a_newer_one(text: str) -> None:
    with pytest.raises(NewerLog):
        log_format.refuse_newer({"flows_format": text})


def test_a_log_without_a_format_is_older() -> None:
    log_format.refuse_newer(None)
    log_format.refuse_newer({"flows_format": "1"})
    assert log_format.marked({"other": "kept"}) == {"other": "kept", "flows_format": "1"}
