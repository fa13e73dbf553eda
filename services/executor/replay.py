"""Replay: take the executor's decisions again, on what it knew then, with today's code. Pure.

A decision carries the position of the log that it was taken on. So any part of the log, from its beginning, is a test:
the state folded up to that position must give the same decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

from bus.envelope import Stored
from bus.subjects import matches
from schemas.base import Value
from schemas.events import BackupRequested, BackupSkipped, SettingsDefined
from services.decision import Decision
from services.executor.domain import decide
from services.executor.state import READS, State, evolve

SOURCE = "executor"


class Replayed(Value, frozen=True, kw_only=True):
    """One decision of the log, and what is decided today. `entry`: None for one that the log should hold and lacks.

    `position`: of the log, on which it is decided.
    """

    position: int
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

    A batch is on the log as a whole: what is decided in one today and was not then is a difference too. Not so a backup
    that is admitted before the log has settings: how many could be in flight in all was known to the executor alone.
    `complete`: at the end of `entries` nothing was left to decide.
    """
    taken_on: dict[int, list[Stored]] = {}
    for entry in entries:
        if entry.envelope.source == SOURCE and entry.envelope.decidedon is not None:
            taken_on.setdefault(int(entry.envelope.decidedon), []).append(entry)
    positions = sorted(taken_on, reverse=True)
    limited = next((entry.sequence for entry in entries if isinstance(entry.envelope.data, SettingsDefined)), None)
    state = State()
    for entry in entries:
        while positions and positions[-1] < entry.sequence:
            position = positions.pop()
            yield from _compare(state, position, taken_on[position], limited)
        if _is_read(entry.subject):
            state.set_aside.fold(partial(evolve, state), [entry])
    while positions:
        position = positions.pop()
        yield from _compare(state, position, taken_on[position], limited)
    if complete:
        end = entries[-1].sequence if entries else 0
        yield from (Replayed(position=end, entry=None, today=one) for batch in decide(state) for one in batch)


@lru_cache(maxsize=100_000)
def _is_read(subject: str) -> bool:
    """Tell whether the executor reads a subject: the time of any other message is none that it knows."""
    return any(matches(pattern, subject) for pattern in READS)


def _compare(state: State, position: int, recorded: Sequence[Stored], limited: int | None) -> Iterator[Replayed]:
    """Compare decisions by id; one whose id older code derived in another way, by its content.

    `limited`: where the log begins to have settings.
    """
    batches = decide(state)
    decisions = [one for batch in batches for one in batch]
    today = {one.id: one for one in decisions}
    taken: set[str] = set()
    for entry in recorded:
        sent = entry.envelope
        same = today.get(sent.id)
        if same is None:
            same = next((one for one in decisions if (one.event, one.cause) == (sent.data, sent.causationid)), None)
        if same is not None:
            taken.add(same.id)
        yield Replayed(position=position, entry=entry, today=same)
    known = limited is not None and limited <= position
    for batch in batches:
        if taken.isdisjoint(one.id for one in batch):
            continue
        for one in batch:
            if one.id not in taken and (known or not isinstance(one.event, BackupRequested | BackupSkipped)):
                yield Replayed(position=position, entry=None, today=one)
