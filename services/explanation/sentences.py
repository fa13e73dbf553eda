"""What an explanation is made of: sentences, and the messages of the log that they rest on. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bus.envelope import Stored
from schemas.base import Value


class Cause(Value, frozen=True, kw_only=True):
    """A message of the log that something is told from: where it stands, what it is, when it came and from whom."""

    sequence: int
    type: str
    at: datetime
    by: str


class Sentence(Value, frozen=True, kw_only=True):
    """A plain sentence, and its causes."""

    text: str
    causes: list[Cause] = []


class Told(Value, frozen=True, kw_only=True):
    """An explanation. `at`: the instant that it is about; `execution_id`: the execution, where there is or was one."""

    flow_id: str
    at: datetime
    execution_id: str | None
    sentences: list[Sentence]


class Question(Value, frozen=True, kw_only=True):
    """What is asked about: one execution; or what became of a flow at an instant, or last (`at` is None)."""

    flow_id: str | None = None
    at: datetime | None = None
    execution_id: str | None = None


def who(entry: Stored) -> str:
    """Return who had a message sent; for what a service decided by itself, the service."""
    return entry.envelope.actor or entry.envelope.source


def sentence(text: str, *entries: Stored | None) -> Sentence:
    """Return a sentence with the messages that it rests on."""
    causes = [
        Cause(sequence=one.sequence, type=one.envelope.type, at=one.envelope.time, by=who(one))
        for one in _once(entries)
    ]
    return Sentence(text=text, causes=causes)


def _once(entries: Iterable[Stored | None]) -> list[Stored]:
    known = {one.sequence: one for one in entries if one is not None}
    return [known[sequence] for sequence in sorted(known)]
