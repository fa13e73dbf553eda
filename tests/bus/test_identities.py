"""The users of NATS on a real server: each may do what its part needs, and nothing else."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from bus import identities
from bus.checkpoint import BUCKET
from bus.connection import connect
from bus.identities import USERS, appends
from bus.log import Log
from bus.server import Server
from bus.setup import declare_at
from bus.stream import WORKER_QUEUE, consumer_config
from bus.subjects import STREAM, TABLE, matches
from schemas import commands as c
from schemas.base import tag_of
from tests.bus.probes import denied, may_not_subscribe, probe
from tests.servers import root, server_in
from tests.support import due, sent

pytestmark = pytest.mark.server
FOLLOWERS = [user for user in USERS if user != "subscriber"]
OTHERS = {
    "stream created": ("$JS.API.STREAM.CREATE.SIDE", {"name": "SIDE", "subjects": ["side"]}),
    "side stream that republishes to flow.due": (
        "$JS.API.STREAM.CREATE.SIDE",
        {"name": "SIDE", "subjects": ["side"], "republish": {"src": "side", "dest": "flow.due"}},
    ),
    "stream deleted": (f"$JS.API.STREAM.DELETE.{STREAM}", None),
    "stream purged": (f"$JS.API.STREAM.PURGE.{STREAM}", None),
    "message deleted": (f"$JS.API.STREAM.MSG.DELETE.{STREAM}", {"seq": 1}),
    "snapshot": (f"$JS.API.STREAM.SNAPSHOT.{STREAM}", {"deliver_subject": "x"}),
    "restored": (f"$JS.API.STREAM.RESTORE.{STREAM}", {}),
    "bucket deleted": (f"$JS.API.STREAM.DELETE.KV_{BUCKET}", None),
    "bucket purged": (f"$JS.API.STREAM.PURGE.KV_{BUCKET}", None),
    "stored message sent on as it is": (f"$JS.API.DIRECT.GET.{STREAM}", {"seq": 1}),
    "stored message of a subject sent on": (f"$JS.API.DIRECT.GET.{STREAM}.flow.due.x", None),
    "key sent on": (f"$JS.API.DIRECT.GET.KV_{BUCKET}.$KV.{BUCKET}.x", None),
    "leader": (f"$JS.API.STREAM.LEADER.STEPDOWN.{STREAM}", None),
    "consumer paused": (f"$JS.API.CONSUMER.PAUSE.{STREAM}.worker", {"pause_until": "2199-01-01T00:00:00Z"}),
}
CHANGES = {
    "stream changed": (f"$JS.API.STREAM.UPDATE.{STREAM}", {"name": STREAM, "max_msgs": 1}),
    "bucket changed": (f"$JS.API.STREAM.UPDATE.KV_{BUCKET}", {}),
    "queue changed": (f"$JS.API.CONSUMER.CREATE.{STREAM}.worker", {}),
    "queue made": (f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.worker", {}),
    "queue deleted": (f"$JS.API.CONSUMER.DELETE.{STREAM}.worker", None),
}


def _subjects(template: str) -> list[str]:
    """Return subjects of a row of the table."""
    if template.startswith("rejected."):
        return [f"rejected.{tag_of(one).partition('.')[2]}" for one in c.COMMANDS]
    if template.startswith("dead.{"):
        return [f"dead.{user}.unusable" for user in USERS]
    subject = re.sub(r"{\w+}", "x", template)
    return [subject, f"{subject}.y"] if subject.startswith("backup.") and subject.count(".") == 2 else [subject]


SUBJECTS = {tag: _subjects(row.subject) for tag, row in TABLE.items()}


def authors(*subjects: str) -> list[str]:
    return [user for user in USERS if any(matches(p, one) for p in appends(user) for one in subjects)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all questions about what is permitted."""
    server = server_in(tmp_path_factory.mktemp("identities"))
    server.start()
    asyncio.run(declare_at(server.url))
    yield server
    server.stop()


@pytest.mark.parametrize("user", USERS)
async def test_each_type_is_appended_by_whom_the_table_names_and_by_nobody_else(shared: Server, user: str) -> None:
    """A forged command, definition, due occurrence or report reaches nobody."""
    async with probe(shared, user) as client:
        for subject in itertools.chain(*SUBJECTS.values()):
            permitted = any(matches(pattern, subject) for pattern in appends(user))
            # a body that nobody can read: whether it is permitted is asked
            assert await denied(client, subject, b"{}") == (not permitted), (user, subject)


def test_who_appends_what() -> None:
    """The table, in words: what stands here is all that others than its author could forge."""
    by = {tag: authors(*subjects) for tag, subjects in SUBJECTS.items()}
    assert by["command.flow.create"] == by["command.flow.execute"] == ["api"]
    commands = {tag: by[tag] for tag in by if tag.startswith("command.")}
    assert {tag for tag in commands if by[tag] != ["api"]} == {"command.settings.update", "command.history.prune"}
    assert by["command.settings.update"] == ["setup", "api"]
    assert by["command.history.prune"] == ["scheduler", "operator"]
    assert all(by[tag] == ["registry"] for tag in by if tag.startswith("catalog."))
    assert authors("rejected.flow.create") == authors("rejected.settings.update") == ["registry"]
    assert authors("rejected.execution.cancel") == authors("rejected.backfill.create") == ["executor"]
    assert by["flow.due"] == by["flow.missed"] == by["flow.overdue"] == ["scheduler"]
    assert by["flow.started"] == by["flow.completed"] == by["backup.requested"] == ["executor"]
    assert by["backup.started"] == by["backup.completed"] == ["worker"]
    assert authors("dead.executor.unusable") == ["executor"]
    assert by["dead.settled"] == ["operator"]
    assert appends("subscriber") == ()


def test_no_type_is_forgotten() -> None:
    for tag, row in TABLE.items():
        assert identities.authors(row.message), tag
        assert set(identities.authors(row.message)) <= set(USERS)


@pytest.mark.parametrize("user", USERS)
async def test_nobody_touches_what_is_another_ones(shared: Server, user: str) -> None:
    async with probe(shared, user) as client:
        for what, (subject, body) in OTHERS.items():
            assert await denied(client, subject, b"" if body is None else json.dumps(body).encode()), what
        for other in USERS:
            if other == user:
                continue
            assert await denied(client, f"_INBOX.{other}.x"), other
            assert await may_not_subscribe(client, f"_INBOX.{other}.>"), other
            assert await denied(client, f"$KV.{BUCKET}.service.{other}.host"), other
            if other != "worker" or user != "worker":
                assert await denied(client, f"$KV.{BUCKET}.{other}"), other
        for event in ("due", "completed"):
            assert await denied(client, f"flow.{event}")
        for subject in (">", "_INBOX.>", "$JS.>", "flow.*.*", "command.>", "backup.>", "$KV.>"):
            assert await may_not_subscribe(client, subject), subject
        if user != "setup":
            for what, (subject, body) in CHANGES.items():
                assert await denied(client, subject, b"" if body is None else json.dumps(body).encode()), what
        if user not in {"setup", "worker"}:
            assert await denied(client, f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.worker", b"1")
        if user != "worker":
            assert await denied(client, f"$JS.ACK.{STREAM}.worker.1.1.1.1.1")
            assert await may_not_subscribe(client, identities.INSPECTION)


@pytest.mark.parametrize("user", FOLLOWERS)
async def test_each_reads_the_log_and_what_is_beside_it(shared: Server, user: str) -> None:
    client = await connect(shared.url, user)
    try:
        log = Log(client)
        assert (await log.identity()).created
        assert await log.time()
        assert await log.last_sequence("nothing.*.*") == 0
        assert await log.read(["rejected.nobody.*"]) == []
        async for page in log.pages(after=0, until=1, size=10):
            assert page
        assert await log.latest(["catalog.nothing.*"]) == []
        assert (await log.queue(WORKER_QUEUE)).pending >= 0
        assert await log.statuses("nobody.") == {}
        assert (await log.checkpoint("nobody")).position == 0
        await log.declared([WORKER_QUEUE])
        if user not in {"operator", "api", "worker", "recorder", "setup"}:
            await log.save_checkpoint(user, 0)
            await log.save_checkpoint_part(user, 0, b"x")
        if user != "operator":
            key = f"service.{user}.host.name"
            await log.put_status(key, {"x": 1})
            assert await log.statuses(key)
            await log.delete_status(key)
        assert client.denied is None
    finally:
        await client.close()


async def test_subscribers_hear_what_was_accepted_and_nothing_else(shared: Server) -> None:
    publisher = await connect(shared.url, "scheduler")
    async with probe(shared, "subscriber") as client:
        subscription = await client.subscribe("flow.*")
        await client.flush()
        await Log(publisher).append([sent(due("heard"))], expect={})
        message = await subscription.next_msg(5)
        assert (message.subject, (message.headers or {})["Nats-Subject"]) == ("flow.due", "flow.due.heard")
        for subject in (f"$JS.API.STREAM.INFO.{STREAM}", f"$JS.API.CONSUMER.CREATE.{STREAM}.x", "$JS.API.INFO", "x"):
            assert await denied(client, subject)
        assert not await may_not_subscribe(client, "replay.>")
    await publisher.close()


async def test_a_server_sends_no_stored_message_on_to_where_a_request_says(shared: Server) -> None:
    """A reply to DIRECT.GET is a message as it was stored: whoever may ask for it can write to any subject."""
    client = await connect(root(shared), "test")
    try:
        js = client.jetstream()
        before = (await js.stream_info(STREAM)).state.last_seq
        for stream in (STREAM, f"KV_{BUCKET}"):  # older versions allowed it
            older = (await js.stream_info(stream)).config.evolve(allow_direct=True)
            await js.update_stream(older)
        await declare_at(shared.url)
        for stream in (STREAM, f"KV_{BUCKET}"):
            assert not (await js.stream_info(stream)).config.allow_direct
        await client.publish(f"$JS.API.DIRECT.GET.{STREAM}", b'{"seq":1}', reply="command.flow.create")
        await client.flush()
        assert (await js.stream_info(STREAM)).state.last_seq == before
    finally:
        await client.close()


async def test_workers_reply_to_inspections_and_to_nothing_that_nobody_asked(shared: Server) -> None:
    worker, api = await connect(shared.url, "worker"), await connect(shared.url, "api")
    try:

        async def reply(body: bytes, respond: Any) -> None:
            await respond(body[::-1])

        await Log(worker).respond(identities.INSPECTION, reply)
        await worker.flush()
        replies = await Log(api).request_many(
            identities.INSPECTION, b"abc", patience=5, lull=0.1, enough=lambda got: len(got) >= 1
        )
        assert replies == [b"cba"]
        assert worker.denied is None
    finally:
        await worker.close()
        await api.close()


async def test_only_workers_take_and_acknowledge_work(shared: Server) -> None:
    client = await connect(shared.url, "worker")
    try:
        subscription = await client.jetstream().pull_subscribe_bind(WORKER_QUEUE.name, stream=STREAM)
        publisher = await connect(root(shared), "test")
        await publisher.jetstream().publish("backup.requested.x", b"{}")
        await publisher.close()
        (message,) = await subscription.fetch(1, timeout=5)
        await message.in_progress()
        await message.ack_sync(5)
        assert client.denied is None
    finally:
        await client.close()


async def test_the_setup_may_change_what_it_declares(shared: Server) -> None:
    client = await connect(shared.url, "setup")
    try:
        js = client.jetstream()
        config = (await js.stream_info(STREAM)).config
        await js.update_stream(config.evolve(duplicate_window=60))
        await js.add_consumer(STREAM, consumer_config(WORKER_QUEUE).evolve(ack_wait=20))
        await declare_at(shared.url)
        assert (await js.stream_info(STREAM)).config.duplicate_window == config.duplicate_window
        assert client.denied is None
    finally:
        await client.close()


def test_the_api_asks_for_test_messages_and_notifiers_reply() -> None:
    asking = [user for user in USERS if identities.TRIAL in identities.permissions(user).publish]
    replying = [user for user in USERS if identities.TRIAL in identities.permissions(user).subscribe]
    assert (asking, replying) == (["api"], ["notifier"])
