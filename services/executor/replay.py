"""Replay: take the executor's decisions again, on what it knew then, with today's code. Pure.

A decision carries the position of the log that it was taken on. So any part of the log, from its beginning, is a test:
the state folded up to that position must give the same decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bus.envelope import Stored
from schemas.base import Value
from services.decision import Decision
from services.executor.domain import decide
from services.executor.state import State, evolve

SOURCE = "executor"


class Replayed(Value, frozen=True, kw_only=True):
    """One decision of the log, and what is decided today. `entry`: None for one that the log should hold and lacks."""

    entry: Stored | None
    today: Decision | None

    @property
    def equal(self) -> bool:
        if self.entry is None or self.today is None:
            return False
        sent = self.entry.envelope
        return (sent.data, sent.time, sent.causationid, sent.actor) == (
            self.today.event,
            self.today.time,
            self.today.cause,
            self.today.actor,
        )


def replay(entries: Sequence[Stored], *, complete: bool = True) -> Iterator[Replayed]:
    """Yield each decision of the executor in `entries`, which begin where the log does, with today's.

    How many backups may be in flight in all is a setting and not on the log: without it more is decided, never other
    things. `complete`: at the end of `entries` nothing was left to decide.
    """
    taken_on: dict[int, list[Stored]] = {}
    for entry in entries:
        if entry.envelope.source == SOURCE and entry.envelope.decidedon is not None:
            taken_on.setdefault(int(entry.envelope.decidedon), []).append(entry)
    positions = sorted(taken_on, reverse=True)
    state = State()
    for entry in entries:
        while positions and positions[-1] < entry.sequence:
            yield from _compare(state, taken_on[positions.pop()])
        evolve(state, entry)
    while positions:
        yield from _compare(state, taken_on[positions.pop()])
    if complete:
        yield from (Replayed(entry=None, today=one) for batch in decide(state) for one in batch)


def _compare(state: State, recorded: Sequence[Stored]) -> Iterator[Replayed]:
    """Compare decisions by id; one whose id older code derived in another way, by its content."""
    decisions = [one for batch in decide(state) for one in batch]
    today = {one.id: one for one in decisions}
    for entry in recorded:
        sent = entry.envelope
        same = today.get(sent.id)
        if same is None:
            same = next((one for one in decisions if (one.event, one.cause) == (sent.data, sent.causationid)), None)
        yield Replayed(entry=entry, today=same)
