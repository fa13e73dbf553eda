"""The log on a real server: atomic, guarded appends; gap-free following; and what the dependencies do on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.errors import FetchTimeoutError

from bus import appending
from bus.appending import BATCH_LIMIT
from bus.connection import connect
from bus.envelope import Stored, Unreadable
from bus.errors import Conflict, TooLarge, Unavailable, Unknown
from bus.log import Log
from bus.reading import Page
from bus.server import Server
from bus.setup import declare_at
from bus.subjects import STREAM
from bus.tasks import cancel_and_wait
from tests.servers import root
from tests.support import due, eventually, sent, vm


async def test_a_batch_is_on_the_log_as_a_whole(log: Log) -> None:
    last = await log.append([sent(due("a")), sent(due("b")), sent(due("a"))], expect={"flow.due.a": 0, "flow.due.b": 0})
    assert last == 3
    assert [entry.subject for entry in await log.read([">"])] == ["flow.due.a", "flow.due.b", "flow.due.a"]


async def test_a_stale_guard_refuses_the_whole_batch(log: Log) -> None:
    await log.append([sent(due("a"))], expect={"flow.due.a": 0})
    with pytest.raises(Conflict):
        await log.append([sent(due("b")), sent(due("a"))], expect={"flow.due.a": 0})
    assert len(await log.read([">"])) == 1
    assert await log.append([sent(due("b")), sent(due("a"))], expect={"flow.due.a": 1}) == 3


async def test_a_guard_may_span_subjects_and_be_on_others(log: Log) -> None:
    await log.append([sent(vm("a"))], expect={"catalog.*.*": 0})
    with pytest.raises(Conflict):
        await log.append([sent(vm("b"))], expect={"catalog.*.*": 0})
    with pytest.raises(Conflict):
        await log.append([sent(due("x"))], expect={"catalog.*.*": 0})
    assert await log.append([sent(vm("b")), sent(due("x"))], expect={"catalog.*.*": 1}) == 3


async def test_of_many_with_the_same_guard_one_wins(log: Log, server: Server) -> None:
    clients = [await connect(root(server), f"rival-{number}") for number in range(4)]
    outcomes = await asyncio.gather(
        *(Log(client).append([sent(due("a"))], expect={"flow.due.a": 0}) for client in clients for _ in range(5)),
        return_exceptions=True,
    )
    assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [1]
    assert all(isinstance(outcome, int | Conflict) for outcome in outcomes)
    for client in clients:
        await client.close()


async def test_asking_twice_is_once(log: Log) -> None:
    events = [sent(due("a"), id=f"m{number % 5}") for number in range(20)]
    sequences = await asyncio.gather(*(log.publish_once(event) for event in events))
    assert len(await log.read([">"])) == 5
    assert len({(event.id, sequence) for event, sequence in zip(events, sequences, strict=True)}) == 5
    assert await log.publish_once(events[0]) == sequences[0]


async def test_messages_asked_at_once_share_batches(log: Log) -> None:
    count = 2 * BATCH_LIMIT + 5
    sequences = await asyncio.gather(*(log.publish_once(sent(due("a"), id=f"m{number}")) for number in range(count)))
    assert sorted(sequences) == list(range(1, count + 1))
    entries = await log.read([">"])
    by_id = {entry.envelope.id: entry.sequence for entry in entries if isinstance(entry, Stored)}
    assert all(by_id[f"m{number}"] == sequence for number, sequence in enumerate(sequences))


async def test_a_message_over_the_limit_is_refused_before_it_closes_the_connection(
    log: Log, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appending, "HEADERS_SIZE", client.max_payload - 300)
    with pytest.raises(TooLarge, match=r"catalog\.vm\.a"):
        await log.append([sent(vm("a", description="x" * 1000))], expect={})
    sequences = await asyncio.gather(
        log.publish_once(sent(due("a"), id="small")),
        log.publish_once(sent(vm("a", description="x" * 1000))),
        return_exceptions=True,
    )
    assert sequences[0] == 1
    assert isinstance(sequences[1], TooLarge)
    assert client.is_connected


async def test_following_sees_old_and_new_in_order_and_says_when_it_has_caught_up(log: Log) -> None:
    await log.append([sent(due("a")) for _ in range(700)], expect={})
    seen: list[Page] = []

    async def follow() -> None:
        async for batch in log.follow(["flow.*.*"], after=100):
            seen.append(batch)

    follower = asyncio.create_task(follow())
    await eventually(lambda: seen and seen[-1].caught_up)
    await log.append([sent(due("b"))], expect={})
    await log.append([sent(vm("b"))], expect={})
    await log.append([sent(due("c"))], expect={})
    await eventually(lambda: seen[-1].position == 703)
    sequences = [entry.sequence for batch in seen for entry in batch.entries]
    assert sequences == [*range(101, 702), 703]
    await cancel_and_wait(follower)


async def test_following_an_empty_log_says_so_at_once(log: Log) -> None:
    async for batch in log.follow(["flow.*.*"], after=0):
        assert batch == Page(entries=[], position=0, caught_up=True)
        break


@pytest.mark.parametrize("crash", [False, True])
async def test_following_goes_on_without_a_gap_when_the_server_restarts(
    log: Log, server: Server, *, crash: bool
) -> None:
    seen: list[int] = []

    async def follow() -> None:
        async for batch in log.follow([">"], after=0):
            seen.extend(entry.sequence for entry in batch.entries)

    follower = asyncio.create_task(follow())
    await log.append([sent(due("a")) for _ in range(10)], expect={})
    await eventually(lambda: len(seen) == 10)
    if crash:
        server.kill()
    else:
        server.stop()
    server.start()

    async def appended() -> bool:
        try:
            return bool(await log.append([sent(due("a")) for _ in range(10)], expect={"flow.due.a": 10}))
        except (Unavailable, Unknown):
            return False
        except Conflict:
            return True  # an append without an answer was stored after all

    await eventually(appended)
    await eventually(lambda: len(seen) == 20, within=30)
    assert seen == list(range(1, 21))
    await cancel_and_wait(follower)


async def test_a_fetch_that_runs_out_of_time_in_any_way_does_not_end_a_follower(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-py raises its own TimeoutError or, when the time is up between two of its steps, asyncio's."""
    original = JetStreamContext.PullSubscription.fetch
    failures = [TimeoutError(), NatsTimeout(), FetchTimeoutError()]

    async def fetch(self: Any, *args: Any, **kwargs: Any) -> Any:
        if failures:
            raise failures.pop()
        return await original(self, *args, **kwargs)

    monkeypatch.setattr(JetStreamContext.PullSubscription, "fetch", fetch)
    await log.append([sent(due("a"))], expect={})
    async for batch in log.follow([">"], after=0):
        assert [entry.sequence for entry in batch.entries] == [1]
        break
    assert not failures


async def test_a_message_that_was_lost_on_the_way_is_read_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    original = JetStreamContext.PullSubscription.fetch
    lost: list[Any] = []

    async def fetch(self: Any, *args: Any, **kwargs: Any) -> Any:
        messages = await original(self, *args, **kwargs)
        if not lost and len(messages) > 2:
            lost.append(messages.pop(1))
        return messages

    monkeypatch.setattr(JetStreamContext.PullSubscription, "fetch", fetch)
    await log.append([sent(due("a")) for _ in range(5)], expect={})
    assert [entry.sequence for entry in await log.read([">"])] == [1, 2, 3, 4, 5]
    assert lost


async def test_without_a_server_appending_says_so(log: Log, server: Server) -> None:
    server.kill()
    await eventually(lambda: not log.is_connected)
    with pytest.raises(Unavailable):
        await log.append([sent(due("a"))], expect={})


async def test_the_catalogue_is_the_last_message_of_each_subject(log: Log) -> None:
    for version in (1, 2, 3):
        await log.append([sent(vm("a", version=version)), sent(vm("b", version=version))], expect={})
    assert [entry.sequence for entry in await log.latest(["catalog.*.*"])] == [5, 6]
    assert await log.last_sequence("catalog.vm.a") == 5
    assert await log.last_sequence("catalog.*.*") == 6
    assert await log.last_sequence("catalog.vm.c") == 0


async def test_garbage_on_the_log_comes_as_a_value(log: Log, client: Client) -> None:
    await client.jetstream().publish("flow.due.a", b"\xff not json")
    await log.append([sent(due("a"))], expect={"flow.due.a": 1})
    first, second = await log.read([">"])
    assert isinstance(first, Unreadable)
    assert isinstance(second, Stored)


async def test_accepted_events_are_republished_to_two_tokens(log: Log, client: Client) -> None:
    subscription = await client.subscribe("flow.*")
    await client.flush()
    await log.append([sent(due("a"))], expect={"flow.due.a": 0})
    with pytest.raises(Conflict):
        await log.append([sent(due("a"))], expect={"flow.due.a": 0})
    message = await subscription.next_msg(timeout=5)
    assert message.subject == "flow.due"
    assert message.headers["Nats-Sequence"] == "1"
    assert message.headers["Nats-Subject"] == "flow.due.a"
    with pytest.raises(TimeoutError):  # what the stream refused is not republished
        await subscription.next_msg(timeout=0.2)


async def test_setting_up_again_changes_nothing(server: Server, log: Log) -> None:
    await log.append([sent(due("a"))], expect={})
    before = await log.identity()
    await declare_at(server.url)
    assert await log.identity() == before


async def test_activity_expires_and_definitions_do_not(log: Log, client: Client) -> None:
    await log.append([sent(due("a")), sent(vm("a"))], expect={})
    jetstream = client.jetstream()
    activity = await jetstream.get_msg(STREAM, seq=1)
    definition = await jetstream.get_msg(STREAM, seq=2)
    assert activity.headers
    assert activity.headers["Nats-TTL"] == "9600h"
    assert not definition.headers or "Nats-TTL" not in definition.headers


async def test_what_is_asked_on_a_closed_connection_is_refused_in_words(server: Server, log: Log) -> None:
    """A part that was denied something ends with what it was, and not with a defect of this program."""
    client = await connect(server.url, "worker")
    await client.close()
    with pytest.raises(Unavailable, match="the log does not respond: nats: connection closed"):
        await Log(client).latest(["catalog.*.*"])
