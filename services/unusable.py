"""What a service cannot use: a message that decodes, and still cannot be folded, projected or decided on. Pure.

It is set aside and the others go on: what one message does must not stop a service. The shell publishes what was set
aside as dead letters (`services/dead_letters.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from bus.envelope import Entry
from schemas.base import Value, brief
from schemas.events import DeadReason

E = TypeVar("E", bound=Entry)
U = TypeVar("U")
D = TypeVar("D")


class DeadLetter(Value, frozen=True, kw_only=True):
    """A message that could not be used, and why."""

    entry: Entry
    reason: DeadReason
    error: str


class Unfoldable(Exception):
    """A message that makes no sense here. Raised before it has changed anything, or when it has changed all it can."""


class SetAside:
    """What a service has set aside, by sequence: each message once, with the first reason."""

    def __init__(self) -> None:
        self._all: set[int] = set()
        self.unpublished: dict[int, str] = {}

    def add(self, sequence: int, error: Exception | str) -> None:
        """Set a message aside."""
        if sequence not in self._all:
            self._all.add(sequence)
            self.unpublished[sequence] = brief(reason_of(error))

    def fold(self, evolve: Callable[[E], object], entries: Iterable[E]) -> None:
        """Fold entries one by one; set aside those that cannot be folded."""
        for entry in entries:
            try:
                evolve(entry)
            except Exception as error:  # noqa: BLE001  whatever a message does, the next one is folded
                self.add(entry.sequence, error)

    def decide(
        self,
        units: Iterable[U],
        decide: Callable[[U], D],
        *,
        sequence: Callable[[U], int],
        instead: Callable[[U, str], D] | None = None,
    ) -> list[D]:
        """Return what is decided about each of some units, apart from the others.

        Of one that cannot be decided on, the message that led to it (on the log at `sequence`) is set aside; `instead`
        is decided about it, with the reason.
        """
        decided: list[D] = []
        for unit in units:
            try:
                decided.append(decide(unit))
            except Exception as error:  # noqa: BLE001  whatever a unit is like, the next one is decided on
                self.add(sequence(unit), error)
                if instead is not None:
                    decided.append(instead(unit, brief(reason_of(error))))
        return decided


def reason_of(error: Exception | str) -> str:
    """Return an error in words: those of one that was foreseen, and of another one its type too."""
    if isinstance(error, Exception) and not isinstance(error, Unfoldable):
        return f"{type(error).__name__}: {error}"
    return str(error)
