"""The simulated server: one stream with the real one's contract, its queues and its key-value bucket. It does no I/O.

What the real one does is pinned in tests/bus, and `test_contract.py` runs the same cases on both.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, copy_context
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from bus.checkpoint import Checkpoint, Status
from bus.envelope import Entry, decode, encode
from bus.errors import Conflict, Duplicate
from bus.stream import Queue
from bus.subjects import matches
from tests.support import due, sent

BEGINNING = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
DUPLICATE_WINDOW = 120.0  # seconds
POLL = 1.0  # seconds for which a slot's request for a message is good, even when its process no longer looks

ID = "Nats-Msg-Id"
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"

Headers = Mapping[str, str]
Post = tuple[str, bytes, Headers]  # subject, body, headers


@lru_cache(100_000)
def _takes(filters: tuple[str, ...], subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in filters)


class Selected:
    """The sequences that match some subject filters, and who waits for the next one."""

    def __init__(self, filters: tuple[str, ...]) -> None:
        self.filters = filters
        self.sequences: list[int] = []
        self.waiting: list[Callable[[], None]] = []

    def takes(self, subject: str) -> bool:
        return _takes(self.filters, subject)

    def after(self, position: int) -> int:
        """Return where in `sequences` those after a position begin."""
        return bisect_right(self.sequences, position)


class Waiter:
    """A slot that asks for one message of a queue."""

    def __init__(self, take: Callable[[int, int], None], alive: Callable[[], bool]) -> None:
        self.take = take  # gives it a sequence, and the number of the delivery
        self.alive = alive


class Consumer:
    """A queue: what is in whose hands, and until when."""

    def __init__(self, server: Server, queue: Queue) -> None:
        self.queue = queue
        self.selected = server.selected(queue.filters)
        self.delivered = 0  # sequence of the last message that was given to somebody for the first time
        self.outstanding: dict[int, float] = {}  # by sequence: when it comes again
        self.deliveries: dict[int, int] = {}
        self.recent: list[tuple[float, int]] = []  # acknowledgements: a server that is killed may forget them
        self.waiting: list[Waiter] = []
        self._server = server
        self._alarm: float | None = None

    @property
    def acknowledged(self) -> int:
        return min(self.outstanding) - 1 if self.outstanding else self.delivered

    @property
    def pending(self) -> int:
        return len(self.selected.sequences) - self.selected.after(self.delivered)

    def ask(self, waiter: Waiter) -> None:
        self.waiting.append(waiter)
        self.serve()

    def serve(self) -> None:
        """Give messages to those who wait: what is to come again first, then what is new."""
        self.waiting = [waiter for waiter in self.waiting if waiter.alive()]
        while self.waiting:
            now = self._server.time()
            overdue = min((seq for seq, until in self.outstanding.items() if until <= now), default=None)
            sequence = overdue
            if sequence is None:
                following = self.selected.after(self.delivered)
                if following >= len(self.selected.sequences):
                    break
                sequence = self.delivered = self.selected.sequences[following]
            number = self.deliveries[sequence] = self.deliveries.get(sequence, 0) + 1
            self._hold(sequence, self.queue.ack_wait)
            self.waiting.pop(0).take(sequence, number)
        self._set_alarm()

    def acknowledge(self, sequence: int) -> None:
        """Settle a message, whichever of its deliveries this is the answer to."""
        if self.outstanding.pop(sequence, None) is not None:
            self.deliveries.pop(sequence, None)
            self.recent.append((self._server.time(), sequence))

    def postpone(self, sequence: int, delay: float) -> None:
        """Have a message come again after a while, or not before it (`in_progress`)."""
        if sequence in self.outstanding:
            self._hold(sequence, delay)
            self._set_alarm()

    def forget(self, since: float) -> None:
        """Lose the acknowledgements since an instant, and all counts, as a server that is killed does."""
        for at, sequence in self.recent:
            if at >= since and self._server.entry(sequence) is not None:
                self.outstanding[sequence] = self._server.time()
        self.recent.clear()
        self.deliveries.clear()
        self.waiting.clear()  # connections are lost, and with them what was asked for
        self._set_alarm()

    def _hold(self, sequence: int, seconds: float) -> None:
        self.outstanding[sequence] = self._server.time() + seconds

    def _set_alarm(self) -> None:
        """Look again when the first message is to come again."""
        now = self._server.time()
        at = min((until for until in self.outstanding.values() if until > now), default=None)
        if at is None or (self._alarm is not None and now < self._alarm <= at):
            return
        self._alarm = at
        self._server.later(at - now, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if not self._server.down:
            self.serve()


class Server:
    """The stream, as the server has it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context: Context = copy_context()
        self._start = self._loop.time()
        self.entries: list[Entry | None] = []  # None: expired
        self.seen: list[Entry] = []  # all that was ever stored, for whoever checks
        self.consumers: dict[str, Consumer] = {}
        self.checkpoints: dict[str, Checkpoint] = {}
        self.parts: dict[tuple[str, int], bytes] = {}  # what is kept beside them
        self.statuses: dict[str, Status] = {}
        self.down = False
        self.generation = 0  # counts restarts: consumers of followers do not survive one
        self.on_stored: Callable[[Entry], None] = lambda _: None
        self._ids: dict[str, tuple[int, float]] = {}
        self._selected: dict[tuple[str, ...], Selected] = {}
        self._takers: dict[str, list[Selected]] = {}  # by subject
        self._inbox: list[Callable[[], None]] = []  # what arrived while it was paused

    # --- time, and the way in -------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._loop.time() - self._start

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.time())

    def later(self, delay: float, work: Callable[..., None], *args: Any) -> None:
        """Do something on the server after a while."""
        self._loop.call_later(delay, work, *args, context=self._context)

    def receive(self, work: Callable[[], None]) -> None:
        """Take in a request. A server that is paused does so when it goes on."""
        if self.down:
            self._inbox.append(work)
        else:
            work()

    def pause(self) -> None:
        self.down = True

    def resume(self) -> None:
        self.down = False
        inbox, self._inbox = self._inbox, []
        for work in inbox:
            work()
        for consumer in self.consumers.values():
            consumer.serve()

    def restart(self, forgets: float) -> None:
        """Be killed and come back: requests that had not been taken in are lost, and the last seconds' answers."""
        self._inbox.clear()
        self.generation += 1
        for consumer in self.consumers.values():
            consumer.forget(self.time() - forgets)
        for selected in self._selected.values():
            self._wake(selected)
        self.resume()

    # --- the stream -------------------------------------------------------------------------------------------------

    @property
    def last(self) -> int:
        return len(self.entries)

    def selected(self, filters: Sequence[str]) -> Selected:
        key = tuple(filters)
        found = self._selected.get(key)
        if found is None:
            found = self._selected[key] = Selected(key)
            found.sequences = [one.sequence for one in self.entries if one is not None and found.takes(one.subject)]
            self._takers.clear()
        return found

    def last_on(self, pattern: str) -> int:
        sequences = self.selected((pattern,)).sequences
        return sequences[-1] if sequences else 0

    def store(self, posts: Sequence[Post]) -> int:
        """Append all or nothing. Raises `Conflict` when a guard is stale, `Duplicate` when a batch holds a known id."""
        for subject, _, headers in posts:
            if EXPECTED in headers and self.last_on(headers.get(EXPECTED_SUBJECT, subject)) != int(headers[EXPECTED]):
                raise Conflict(f"wrong last sequence: {self.last_on(headers.get(EXPECTED_SUBJECT, subject))}")
        for _, _, headers in posts:
            known = self._known(headers.get(ID))
            if known is not None:
                if len(posts) == 1:
                    return known
                raise Duplicate(f"a message with the id {headers[ID]!r} is there")
        for subject, body, headers in posts:
            self._append(subject, body)
            if ID in headers:
                self._ids[headers[ID]] = (self.last, self.time())
        return self.last

    def _known(self, id_: str | None) -> int | None:
        sequence, at = self._ids.get(id_ or "", (0, 0.0))
        return sequence if sequence and self.time() - at < DUPLICATE_WINDOW else None

    def _append(self, subject: str, body: bytes) -> None:
        entry = decode(sequence=self.last + 1, subject=subject, stored_at=self.now(), body=body)
        self.entries.append(entry)
        self.seen.append(entry)
        takers = self._takers.get(subject)
        if takers is None:
            takers = self._takers[subject] = [one for one in self._selected.values() if one.takes(subject)]
        for selected in takers:
            selected.sequences.append(entry.sequence)
            self._wake(selected)
        for consumer in self.consumers.values():
            if consumer.waiting and consumer.selected.takes(subject):
                self.later(0.0, consumer.serve)
        self.on_stored(entry)

    def _wake(self, selected: Selected) -> None:
        waiting, selected.waiting = selected.waiting, []
        for wake in waiting:
            wake()

    def expire(self, sequence: int) -> None:
        """Let a message vanish, as its time to live has passed."""
        if self.entries[sequence - 1] is None:
            return
        self.entries[sequence - 1] = None
        for selected in self._selected.values():
            if sequence in selected.sequences:
                selected.sequences.remove(sequence)
        for consumer in self.consumers.values():
            consumer.outstanding.pop(sequence, None)

    def entry(self, sequence: int) -> Entry | None:
        return self.entries[sequence - 1]

    # --- queues -------------------------------------------------------------------------------------------------------

    def consumer(self, queue: Queue) -> Consumer:
        found = self.consumers.get(queue.name)
        if found is None:
            found = self.consumers[queue.name] = Consumer(self, queue)
        return found

    def delete_consumer(self, name: str) -> None:
        """Drop a queue. Whoever asks next makes it again, and it begins at the beginning."""
        gone = self.consumers.pop(name, None)
        if gone is not None:
            new = self.consumer(gone.queue)
            new.waiting = gone.waiting
            self.later(0.0, new.serve)


def foreign(subject: str) -> bytes:
    """Return what an outsider puts on a subject: no envelope, or a well-formed one of which nothing is in bounds."""
    if not subject.startswith("flow.due."):
        return b"\x00 not ours"
    absurd = sent(due(subject.split(".")[2], datetime(9999, 12, 31, tzinfo=UTC)), time=datetime(1, 1, 1, tzinfo=UTC))
    return encode(absurd)
