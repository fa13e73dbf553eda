"""The set-up: it declares the log, which the others wait for, and keeps the queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, cast

import pytest
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError, ServerError

from bus import log as bus_log
from bus.checkpoint import BUCKET
from bus.log import Log
from bus.reading import Page
from bus.server import Server
from bus.setup import QUEUES, declare_at, keep
from bus.stream import WORKER_QUEUE, consumer_config
from bus.subjects import STREAM
from bus.tasks import cancel_and_wait
from services.hosting import host, host_all
from services.registry.app import Registry
from services.setup import app
from services.setup.app import Setup
from services.worker.app import Worker
from tests.services.worker.support import request
from tests.support import eventually, sent, stored


async def test_the_others_wait_for_it_and_say_so(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bus_log, "TELL_AFTER", 0.1)
    stop, started = asyncio.Event(), list[str]()
    waiting = asyncio.create_task(host_all([Registry(), Worker()], server.url, stop, on_start=started.append))
    await eventually(lambda: "the log is not there yet: is `flows serve setup` running?" in caplog.text)
    with pytest.raises(NotFoundError):  # and nobody has made it
        await client.jetstream().stream_info(STREAM)
    setup = asyncio.create_task(host(Setup(), server.url, stop, on_start=started.append))
    await eventually(lambda: sorted(started) == ["registry", "setup", "worker"])
    stop.set()
    await asyncio.gather(waiting, setup)


async def test_whoever_waits_can_be_stopped(server: Server) -> None:
    stop = asyncio.Event()
    waiting = asyncio.create_task(host(Registry(), server.url, stop))
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    stop.set()
    await asyncio.wait_for(waiting, 10)


async def test_declaring_again_finds_nothing_to_do(server: Server, log: Log, client: Client) -> None:
    js = client.jetstream()
    before = [await js.stream_info(name) for name in (STREAM, f"KV_{BUCKET}")]
    await declare_at(server.url)
    assert [(await js.stream_info(one.config.name or "")).config for one in before] == [one.config for one in before]
    assert await keep(js, QUEUES) == []


async def test_a_queue_that_somebody_deleted_or_changed_is_put_right(
    server: Server, log: Log, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "EVERY", 0.1)
    js, name = client.jetstream(), WORKER_QUEUE.name
    stop = asyncio.Event()
    started = asyncio.Event()
    setup = asyncio.create_task(host(Setup(), server.url, stop, on_start=lambda _: started.set()))
    await started.wait()

    async def right() -> bool:
        try:
            config = (await js.consumer_info(STREAM, name)).config
        except NotFoundError:
            return False
        return (config.ack_wait, config.ack_policy) == (WORKER_QUEUE.ack_wait, AckPolicy.EXPLICIT)

    async def changed(config: ConsumerConfig) -> bool:
        with suppress(ServerError):  # it still tidies up after the one that was deleted
            await js.add_consumer(STREAM, config)
            return True
        return False

    # in this order: of what is made again at once after a deletion, the server may remove the files later
    await eventually(lambda: changed(consumer_config(WORKER_QUEUE).evolve(ack_wait=1.0)))
    await eventually(right)
    monkeypatch.setattr("services.setup.app.EVERY", 0.5)  # time for another one to be quicker

    await js.delete_consumer(STREAM, name)
    await eventually(right)

    async def another() -> bool:
        with suppress(NotFoundError):
            await js.delete_consumer(STREAM, name)
        return await changed(ConsumerConfig(durable_name=name, ack_policy=AckPolicy.NONE))

    await eventually(another)
    await eventually(right)
    assert "the queue 'worker' was not there, and is made" in caplog.text
    assert "another consumer had the name of the queue 'worker', and is deleted" in caplog.text
    assert "the queue 'worker' had other settings, and has its own again" in caplog.text
    stop.set()
    await setup


async def test_who_is_stopped_at_work_leaves_nothing_that_follows_the_log() -> None:
    """Its consumer would be let go of later, on a connection that is closed, or never."""
    over, at_work = asyncio.Event(), asyncio.Event()

    class Following:
        async def follow(self, *_: Any, **__: Any) -> AsyncGenerator[Page]:
            entry = stored(sent(request(pool="site-a", worker_labels={"site": "a"}), id="request"), 1)
            try:
                yield Page(entries=[entry], position=1, caught_up=True)
            finally:
                await asyncio.sleep(0.05)  # not a wait: the time that a reply takes
                over.set()

        async def checkpoint(self, _: str) -> None:
            at_work.set()
            await asyncio.Event().wait()

    setup = Setup()
    setup._log = cast("Log", Following())
    task = asyncio.create_task(setup._follow())
    await asyncio.wait_for(at_work.wait(), 10)
    await cancel_and_wait(task)
    assert over.is_set()
