"""Enrolled workers on a real server: each is who it is, may do what its labels allow, and is cut off when revoked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client

from bus import setup as bus_setup
from bus.connection import connect
from bus.errors import Unavailable
from bus.identities import AUTHENTICATION, KEYS, consumers_of
from bus.log import Log
from bus.server import Server
from bus.stream import queue_of
from bus.subjects import STREAM
from schemas import commands as c
from schemas.labels import pool_of
from schemas.tokens import digest_of
from services.executor.app import Executor
from services.hosting import host
from services.registry.app import Registry
from services.setup import app, revocation
from services.worker import queues
from services.worker.app import Worker
from services.worker.status import PREFIX
from tests.bus.probes import denied, may_not_subscribe, probe
from tests.services.conftest import Engine
from tests.services.house import built
from tests.services.setup.enrolled import SECRET, enrol, running, set_up, url_of
from tests.services.worker.sites import SITES, house
from tests.services.worker.support import Gate, lease, request, say
from tests.support import T0, eventually, sent
from tests.workers import worker as defined

__all__ = ("lease",)  # a fixture
REVOKED: dict[str, Any] = {"version": 2, "revoked_at": T0, "revoked_by": "eve"}


@pytest.fixture(autouse=True)
def quick(lease: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "LOOK_EVERY", 0.2)
    monkeypatch.setattr(revocation, "AGAIN", 0.5)
    monkeypatch.setattr(app, "QUEUES", bus_setup.QUEUES)


@pytest.fixture
async def setup(server: Server, log: Log) -> AsyncIterator[None]:
    async with set_up(server):
        yield


async def test_an_enrolled_worker_takes_what_its_labels_allow(engine: Engine, setup: None) -> None:
    await enrol(engine.log, "at-a", labels=SITES["a"])
    await enrol(engine.log, "at-b", labels=SITES["b"])
    async with engine.running(Registry(), Executor()):
        await built(engine, house())
        a = Worker(enrolment="at-a", labels=SITES["a"])
        async with running(engine.server, "at-a", a), running(engine.server, "at-b"):
            await engine.ask(c.ExecuteFlow(id="vm-repo-a"))
            await engine.until("flow.completed.*")
        (began,) = await engine.messages("backup.started.>")
        assert began.worker.startswith("at-a.")
    keys = await engine.log.statuses(PREFIX)
    assert [key.split(".")[1] for key in sorted(keys)] == ["at-a", "at-b"]
    assert [one.value["enrolment"] for _, one in sorted(keys.items())] == ["at-a", "at-b"]


async def test_it_may_do_nothing_with_what_is_others(engine: Engine, setup: None) -> None:
    """Not take from another pool's queue, acknowledge there, change consumers, or write another one's keys."""
    await enrol(engine.log, "at-a", labels=SITES["a"])
    mine, other = (queue_of(pool_of(SITES[site])).name for site in "ab")
    api, ack = f"$JS.API.CONSUMER.{{}}.{STREAM}.{{}}", f"$JS.ACK.{STREAM}.{{}}.1.1.1.1.0"
    permitted = (
        *(api.format("MSG.NEXT", queue) for queue in (mine, "worker", "follower-at-a-0")),
        *(ack.format(queue) for queue in (mine, "worker")),
        *(api.format("CREATE", "follower-at-a-31"), api.format("INFO", other)),
        *(f"{KEYS}.worker.at-a.host-1", f"{KEYS}.service.worker.at-a.host-1", "backup.started.f.v"),
    )
    refused = (
        *(api.format("MSG.NEXT", queue) for queue in (other, "follower-at-b-0", "follower-at-a-32", "x")),
        *(ack.format(queue) for queue in (other, "follower-at-b-0")),
        *(api.format(verb, queue) for verb in ("CREATE", "DELETE") for queue in (mine, other, "worker", "x")),
        *(f"{KEYS}.worker.at-b.host-1", f"{KEYS}.worker.at-a", f"{KEYS}.service.worker.host-1", f"{KEYS}.pools"),
        *("command.flow.execute", "catalog.worker.at-a", "backup.requested.f", AUTHENTICATION, "flow.due"),
        *(f"$JS.API.STREAM.UPDATE.{STREAM}", f"$JS.API.DIRECT.GET.{STREAM}", "$SYS.REQ.SERVER.PING.CONNZ"),
    )
    async with probe(engine.server, "worker-at-a", url_of(engine.server, "at-a")) as client:
        assert [subject for subject in permitted if await denied(client, subject)] == []
        assert [subject for subject in refused if not await denied(client, subject)] == []
        assert not await may_not_subscribe(client, "_INBOX.worker-at-a.x")
        for inbox in ("_INBOX.worker.>", "_INBOX.worker-at-b.>", "_INBOX.api.>", AUTHENTICATION, ">", "flow.*"):
            assert await may_not_subscribe(client, inbox)


@pytest.mark.parametrize(
    ("name", "secret"),
    [("at-a", "y" * 43), ("at-b", SECRET), ("waiting", SECRET), ("waiting", ""), ("at-a", "o" * 43), ("a.b", SECRET)],
)
async def test_who_is_not_enrolled_with_this_secret_is_refused_in_words(
    engine: Engine, setup: None, name: str, secret: str
) -> None:
    await enrol(engine.log, "at-a")
    await enrol(engine.log, "waiting", digest=None, enrolled_at=None)
    url = url_of(engine.server, name, secret)
    with pytest.raises(Unavailable, match=r"(does not let worker|refuses the user or password)"):
        await host(Worker(enrolment=name), url, asyncio.Event())


async def test_one_that_was_enrolled_a_moment_ago_is_let_in(engine: Engine, setup: None) -> None:
    for number in range(5):
        await enrol(engine.log, f"new-{number}")
        client = await connect(url_of(engine.server, f"new-{number}"), "worker")
        await client.close()


async def test_a_revoked_worker_is_told_so(engine: Engine, setup: None) -> None:
    await enrol(engine.log, "at-a", **REVOKED)
    with pytest.raises(Unavailable, match="worker 'at-a' was revoked, and may do nothing here any more"):
        await host(Worker(enrolment="at-a"), url_of(engine.server, "at-a"), asyncio.Event())


async def test_a_revoked_one_is_cut_off_and_its_backup_is_made_elsewhere(engine: Engine, setup: None) -> None:
    await enrol(engine.log, "one")
    gate, other = Gate(), Gate()
    other.open.set()
    async with running(engine.server, "one", Worker(enrolment="one", engines={"simulated": gate})) as ended:
        await say(engine.log, request())
        await engine.until("backup.started.>")
        await enrol(engine.log, "one", **REVOKED)
        with pytest.raises(Unavailable, match="worker 'one' was revoked"):
            await asyncio.wait_for(ended, 20)
    async with engine.running(Worker(worker_id="two", engines={"simulated": other})):
        await engine.until("backup.completed.>", within=30)
    first, second = await engine.messages("backup.started.>")
    assert (first.worker.partition(".")[0], first.attempt) == ("one", 1)
    assert (second.worker, second.attempt) == ("two", 2)


async def test_revoked_while_no_setup_ran_counts_when_one_does(engine: Engine) -> None:
    await enrol(engine.log, "at-a")
    async with set_up(engine.server):
        client = await connect(url_of(engine.server, "at-a"), "worker")
    await enrol(engine.log, "at-a", **REVOKED)
    assert client.is_connected, "who is connected stays so without a set-up"
    async with set_up(engine.server):
        await eventually(lambda: not client.is_connected)
    await client.close()


async def test_what_is_repeated_or_cannot_be_read_brings_no_revoked_worker_back_and_shuts_none_out(
    engine: Engine, setup: None, client: Client
) -> None:
    """A worker may have the server append again what it has read: an old version of a worker, or what is no message."""
    await enrol(engine.log, "gone", **REVOKED)
    await engine.log.publish_once(sent(defined("gone", digest=digest_of(SECRET), enrolled_at=T0), id="repeated"))
    await enrol(engine.log, "here")
    await client.jetstream().publish("catalog.worker.here", b"{}")
    with pytest.raises(Unavailable, match="worker 'gone' was revoked"):
        await host(Worker(enrolment="gone"), url_of(engine.server, "gone"), asyncio.Event())
    connected = await connect(url_of(engine.server, "here"), "worker")
    await connected.close()


async def test_a_worker_cannot_have_the_server_deliver_to_other_subjects_of_the_log(
    engine: Engine, setup: None, client: Client
) -> None:
    """A consumer of its own gives what is on the log to where it says: as what it is, and not as something else."""
    await enrol(engine.log, "at-a")
    consumer = consumers_of("at-a")[0]
    config = {"name": consumer, "ack_policy": "none", "mem_storage": True, "filter_subject": "backup.progressed.evil.v"}
    making = {"stream_name": STREAM, "config": config}
    async with probe(engine.server, "worker-at-a", url_of(engine.server, "at-a")) as evil:
        await evil.publish("backup.progressed.evil.v", b"{}")
        creating = f"$JS.API.CONSUMER.CREATE.{STREAM}.{consumer}"
        made = await evil.request(creating, msgspec.json.encode(making), timeout=5)
        assert b"error" not in made.data
        for wanted in ("catalog.worker.at-b", "command.flow.execute"):
            await evil.publish(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{consumer}", b'{"batch": 1}', reply=wanted)
            await evil.flush()
            pushing = {**making, "config": {**config, "name": consumers_of("at-a")[1], "deliver_subject": wanted}}
            refused = await evil.request(f"{creating[:-1]}1", msgspec.json.encode(pushing), timeout=5)
            assert b"forms a cycle" in refused.data
    subjects = (await client.jetstream().stream_info(STREAM, subjects_filter=">")).state.subjects or {}
    assert set(subjects) == {"backup.progressed.evil.v", "catalog.worker.at-a"}


async def test_of_several_set_ups_any_vouches_and_one_that_is_gone_is_not_missed(engine: Engine) -> None:
    """Workers come back while set-ups are restarted one after the other: none is refused, and none waits for long."""
    names = [f"rack-{number}" for number in range(2)]
    for name in names:
        await enrol(engine.log, name)
    over = asyncio.Event()

    async def come_and_go(name: str) -> int:
        times = 0
        while not over.is_set():
            client = await connect(url_of(engine.server, name), "worker")
            await client.close()
            times += 1
            await asyncio.sleep(0.05)  # not a wait: the pace at which they come
        return times

    async with set_up(engine.server):
        coming = [asyncio.create_task(come_and_go(name)) for name in names]
        for _ in range(2):
            async with set_up(engine.server):
                await enrol(engine.log, "rack-0")
        over.set()
        assert all([await one for one in coming])


async def test_enrolled_workers_come_back_when_the_set_up_does(engine: Engine) -> None:
    """The server restarts while no set-up runs: workers are let in as soon as one does, with nothing done by hand."""
    await enrol(engine.log, "at-a")
    async with set_up(engine.server):
        client = await connect(url_of(engine.server, "at-a"), "worker")
    engine.server.stop()
    engine.server.start()
    await eventually(lambda: not client.is_connected)
    async with set_up(engine.server):
        await eventually(lambda: client.is_connected, within=30)
    await client.close()


async def test_a_revoked_one_that_comes_again_and_again_may_do_nothing_and_stands_in_the_log(
    engine: Engine, setup: None, caplog: pytest.LogCaptureFixture
) -> None:
    await enrol(engine.log, "at-a", **REVOKED)
    for _ in range(2):
        async with probe(engine.server, "worker-at-a", url_of(engine.server, "at-a")) as client:
            for subject in (
                "backup.started.f.v",
                f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.worker",
                f"{KEYS}.worker.at-a.x",
            ):
                assert await denied(client, subject)
            assert await may_not_subscribe(client, "worker.inspect")
    refused = [record for record in caplog.records if getattr(record, "action", "") == "worker_refused"]
    assert [record.__dict__["worker"] for record in refused] == ["at-a", "at-a"]
