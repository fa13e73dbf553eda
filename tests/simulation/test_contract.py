"""One contract, two logs: what the simulation promises of a log, a real nats-server does too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from bus import appending
from bus.envelope import Stored, Unreadable, encode
from bus.errors import Conflict, TooLarge, Unknown
from bus.reading import Page
from bus.tasks import cancel_and_wait
from services.consuming import Delivery
from tests.simulation.backends import QUEUE, Backend
from tests.support import due, eventually, sent, vm

# --- append -----------------------------------------------------------------------------------------------------------


async def test_a_batch_is_on_the_log_as_a_whole_or_not_at_all(backend: Backend) -> None:
    log = backend.log
    assert await log.append([sent(due("a")), sent(due("b")), sent(due("a"))], expect={"flow.due.a": 0}) == 3
    with pytest.raises(Conflict):
        await log.append([sent(due("c")), sent(due("a"))], expect={"flow.due.a": 1})
    assert await log.append([sent(due("c")), sent(due("a"))], expect={"flow.due.a": 3, "flow.due.c": 0}) == 5
    assert [entry.subject for entry in await log.read([">"])] == [f"flow.due.{key}" for key in "abaca"]


async def test_a_guard_may_span_subjects_and_be_on_others(backend: Backend) -> None:
    log = backend.log
    await log.append([sent(vm("a"))], expect={"catalog.*.*": 0})
    for event in (vm("b"), due("x")):
        with pytest.raises(Conflict):
            await log.append([sent(event)], expect={"catalog.*.*": 0})
    assert await log.append([sent(vm("b")), sent(due("x"))], expect={"catalog.*.*": 1}) == 3


async def test_of_rivals_with_the_same_guard_one_wins(backend: Backend) -> None:
    logs = [backend.log, await backend.another(), await backend.another()]
    outcomes = await asyncio.gather(
        *(log.append([sent(due("a"))], expect={"flow.due.a": 0}) for log in logs for _ in range(3)),
        return_exceptions=True,
    )
    assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [1]
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 8


async def test_a_message_that_is_too_large_is_refused(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appending, "HEADERS_SIZE", (8 << 20) - 300)
    with pytest.raises(TooLarge):
        await backend.log.append([sent(vm("a", description="x" * 1000))], expect={})


async def test_an_expired_message_counts_as_none_for_a_guard(backend: Backend) -> None:
    log = backend.log
    await log.append([sent(due("a")), sent(due("a")), sent(due("b"))], expect={})
    await backend.expire(2)
    assert await log.last_sequence("flow.due.a") == 1
    with pytest.raises(Conflict):
        await log.append([sent(due("a"))], expect={"flow.due.a": 2})
    assert await log.append([sent(due("a"))], expect={"flow.due.a": 1}) == 4
    assert [entry.sequence for entry in await log.read([">"])] == [1, 3, 4]


async def test_what_a_paused_server_was_sent_has_its_effect_later(backend: Backend) -> None:
    log = await backend.another(reply_timeout=0.5)
    await log.append([sent(due("a"))], expect={})
    backend.pause()
    try:
        with pytest.raises(Unknown):
            await log.append([sent(due("a"))], expect={"flow.due.a": 1})
    finally:
        backend.resume()

    async def there() -> bool:
        return await backend.log.last_sequence("flow.due.a") == 2

    await eventually(there)


# --- ids --------------------------------------------------------------------------------------------------------------


async def test_an_id_is_taken_once_alone_and_among_others(backend: Backend) -> None:
    log = backend.log
    first = await log.publish_once(sent(due("a"), id="one"))
    assert await log.publish_once(sent(due("a"), id="one")) == first
    events = [sent(due("a"), id=id_) for id_ in ("two", "one", "three", "two")]
    sequences = await asyncio.gather(*(log.publish_once(event) for event in events))
    assert sequences[1] == first
    assert sequences[0] == sequences[3]
    ids = [entry.envelope.id for entry in await log.read([">"]) if isinstance(entry, Stored)]
    assert sorted(ids) == ["one", "three", "two"]


# --- read -------------------------------------------------------------------------------------------------------------


async def test_the_latest_of_each_subject_and_the_last_of_a_filter(backend: Backend) -> None:
    log = backend.log
    assert await log.last_sequence("catalog.*.*") == 0
    assert await log.latest(["catalog.*.*"]) == []
    await log.append([sent(vm("a")), sent(vm("b")), sent(due("x")), sent(vm("a"))], expect={})
    assert [entry.sequence for entry in await log.latest(["catalog.*.*"])] == [2, 4]
    assert await log.last_sequence("catalog.*.*") == 4
    assert await log.last_sequence("catalog.vm.b") == 2
    assert (await log.identity()).last_sequence == 4


async def test_what_little_there_is_of_a_subject_is_read_without_a_consumer(backend: Backend) -> None:
    log = backend.log
    assert await log.after("flow.*.a", 0) == []
    assert await log.last("flow.*.a") is None
    await log.append([sent(due(key)) for key in "abaa"], expect={})
    await log.append([sent(vm("a"))], expect={})
    assert [entry.sequence for entry in await log.after("flow.*.a", 0)] == [1, 3, 4]
    assert [entry.sequence for entry in await log.after("flow.*.a", 3)] == [4]
    assert await log.after("flow.*.a", 5) == []
    last = await log.last("flow.*.a")
    assert last is not None
    (read,) = await log.read(["flow.*.a"], after=3)
    assert (last.sequence, last.subject, last.body) == (4, read.subject, read.body)


async def test_a_report_is_refused_when_something_came_to_its_subject(backend: Backend) -> None:
    log = backend.log
    first = await log.report(sent(due("a"), id="one"), about="flow.*.a", last=0)
    assert await log.report(sent(due("a"), id="one"), about="flow.*.a", last=first) == 2  # its id keeps nothing off
    with pytest.raises(Conflict):
        await log.report(sent(due("a")), about="flow.*.a", last=first)
    # of those that share a batch the one that is refused keeps none of the others off
    said = [("c", 0), ("a", first), ("d", 0), ("e", 0)]
    calls = (log.report(sent(due(key)), about=f"flow.*.{key}", last=last) for key, last in said)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(outcome, Conflict) for outcome in outcomes] == [False, True, False, False]
    assert len(await log.read([">"])) == 5


async def test_an_outsiders_message_is_there_for_readers_and_guards(backend: Backend) -> None:
    log = backend.log
    await log.append([sent(due("a"))], expect={})
    await backend.inject("flow.due.a", b"\x00 not ours")
    entries = await log.read(["flow.due.*"])
    assert [type(entry) for entry in entries] == [Stored, Unreadable]
    assert [entry.sequence for entry in await log.latest(["flow.due.*"])] == [1]
    with pytest.raises(Conflict):
        await log.append([sent(due("a"))], expect={"flow.due.a": 1})
    assert await log.append([sent(due("a"))], expect={"flow.due.a": 2}) == 3


async def test_reading_a_stretch(backend: Backend) -> None:
    log = backend.log
    await log.append([sent(due("a")) for _ in range(9)], expect={})
    assert [entry.sequence for entry in await log.read([">"], after=3, until=6)] == [4, 5, 6]
    pages = [page async for page in log.pages(after=2, until=8, size=4)]
    assert [entry.sequence for page in pages for entry in page] == [3, 4, 5, 6, 7, 8]


async def test_following_is_in_order_without_a_gap_and_says_when_it_has_caught_up(backend: Backend) -> None:
    log = backend.log
    await log.append([sent(due("a")) for _ in range(120)], expect={})
    batches: list[Page] = []

    async def follow() -> None:
        async for batch in log.follow(["flow.*.*"], after=20):
            batches.append(batch)

    task = asyncio.create_task(follow())
    await eventually(lambda: batches and batches[-1].caught_up)
    assert batches[-1].position == 120
    other = await backend.another()
    await other.append([sent(due("b"))], expect={})
    await other.append([sent(vm("b"))], expect={})
    await other.append([sent(due("c"))], expect={})
    await eventually(lambda: batches[-1].position == 123)
    await cancel_and_wait(task)
    assert [entry.sequence for batch in batches for entry in batch.entries] == [*range(21, 122), 123]
    assert [batch.position for batch in batches] == sorted(batch.position for batch in batches)


async def test_following_nothing_says_so_at_once(backend: Backend) -> None:
    async for batch in backend.log.follow(["flow.*.*"], after=0):
        assert batch == Page(entries=[], position=0, caught_up=True)
        break


async def test_notes_and_checkpoints(backend: Backend) -> None:
    log = backend.log
    assert (await log.checkpoint("executor")).position == 0
    await log.append([sent(due("a"))], expect={})
    await log.save_checkpoint("executor", 1, processed=3)
    found = await log.checkpoint("executor")
    assert (found.position, found.processed) == (1, 3)
    assert await log.checkpoint_part("executor", 0) == b""
    await log.save_checkpoint_part("executor", 0, b"part")
    assert await log.checkpoint_part("executor", 0) == b"part"
    await log.put_status("clock.a", {"off": 3})
    await log.put_status("other", {})
    notes = await log.statuses("clock.")
    assert {key: note.value for key, note in notes.items()} == {"clock.a": {"off": 3}}
    assert abs((notes["clock.a"].at - await log.time()).total_seconds()) < 10


# --- queues -----------------------------------------------------------------------------------------------------------


class Hands:
    """What was delivered to a slot, and what it answers: one answer for each delivery, in order; then nothing."""

    def __init__(self, *answers: Callable[[Delivery], Awaitable[None]]) -> None:
        self.deliveries: list[Delivery] = []
        self.at: list[float] = []
        self._answers = list(answers)

    async def handle(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self.at.append(asyncio.get_running_loop().time())
        if self._answers:
            await self._answers.pop(0)(delivery)

    @property
    def seen(self) -> list[tuple[int, int]]:
        return [(delivery.entry.sequence, delivery.number) for delivery in self.deliveries]


async def ack(delivery: Delivery) -> None:
    await delivery.message.ack_sync()


async def nack(delay: float, delivery: Delivery) -> None:
    await delivery.message.nack(delay=delay)


async def test_a_queue_gives_each_message_to_one_and_knows_what_is_answered(backend: Backend) -> None:
    await backend.make_queue()
    await backend.log.append([sent(vm("a")), *(sent(due("a")) for _ in range(4))], expect={})
    state = await backend.log.queue(QUEUE)
    assert (state.acknowledged, state.delivered, state.pending) == (0, 0, 4)
    one, other = Hands(*[ack] * 9), Hands(*[ack] * 9)
    await backend.serve(one.handle)
    await backend.serve(other.handle)

    async def answered() -> bool:
        return await backend.log.acknowledged(QUEUE) == 5

    await eventually(answered)
    assert sorted(one.seen + other.seen) == [(2, 1), (3, 1), (4, 1), (5, 1)]
    assert (await backend.log.queue(QUEUE)).pending == 0


async def test_what_is_put_off_comes_again_after_the_delay(backend: Backend) -> None:
    await backend.make_queue()
    await backend.log.append([sent(due("a"))], expect={})
    hands = Hands(partial(nack, 0.4), ack)
    await backend.serve(hands.handle)
    await eventually(lambda: len(hands.seen) == 2)
    assert hands.seen == [(1, 1), (1, 2)]
    assert hands.at[1] - hands.at[0] >= 0.35


async def test_what_nobody_answers_comes_again(backend: Backend) -> None:
    await backend.make_queue()
    await backend.log.append([sent(due("a"))], expect={})
    hands = Hands()
    await backend.serve(hands.handle)
    await eventually(lambda: len(hands.seen) >= 2)
    assert hands.seen[:2] == [(1, 1), (1, 2)]
    assert hands.at[1] - hands.at[0] >= 0.9 * QUEUE.ack_wait
    assert await backend.log.acknowledged(QUEUE) == 0


async def test_a_sign_of_life_keeps_a_message(backend: Backend) -> None:
    await backend.make_queue()
    await backend.log.append([sent(due("a"))], expect={})

    async def work(delivery: Delivery) -> None:
        for _ in range(4):
            await asyncio.sleep(0.5)  # not a wait: its work
            await delivery.message.in_progress()
        await delivery.message.ack_sync()

    one, other = Hands(work), Hands(ack)
    await backend.serve(one.handle)
    await eventually(lambda: one.seen)
    await backend.serve(other.handle)

    async def answered() -> bool:
        return await backend.log.acknowledged(QUEUE) == 1

    await eventually(answered)
    assert one.seen + other.seen == [(1, 1)]


async def test_a_late_answer_to_an_older_delivery_settles_the_message(backend: Backend) -> None:
    await backend.make_queue()
    await backend.log.append([sent(due("a"))], expect={})
    hands = Hands()
    await backend.serve(hands.handle)
    await eventually(lambda: len(hands.seen) == 2)
    await hands.deliveries[0].message.ack_sync()
    assert await backend.log.acknowledged(QUEUE) == 1
    await backend.log.append([sent(due("a"))], expect={})
    await eventually(lambda: hands.seen[-1][0] == 2)
    assert [sequence for sequence, _ in hands.seen] == [1, 1, 2]


async def test_a_queue_that_was_deleted_begins_at_the_beginning(backend: Backend) -> None:
    await backend.make_queue()
    await backend.log.append([sent(due("a")), sent(due("b"))], expect={})
    hands = Hands(*[ack] * 4)
    await backend.serve(hands.handle)
    await eventually(lambda: len(hands.seen) == 2)
    await backend.delete_queue()
    await backend.make_queue()
    again = Hands(*[ack] * 4)
    await backend.serve(again.handle)
    await eventually(lambda: len(hands.seen + again.seen) == 4)
    assert sorted(hands.seen + again.seen) == [(1, 1), (1, 1), (2, 1), (2, 1)]


async def test_the_body_of_a_message_is_what_was_sent(backend: Backend) -> None:
    event = sent(vm("a"))
    await backend.log.append([event], expect={})
    entry = (await backend.log.read([">"]))[0]
    assert entry.body == encode(event)
    assert isinstance(entry, Stored)
    assert (entry.envelope.id, entry.envelope.data) == (event.id, event.data)
