"""Negative controls: defects of the past, put back into today's code. On each the checker must turn red.

A simulator that finds nothing proves nothing, unless it finds what is known to be wrong. Each defect was first seen on
the code that had it; `before` says on which seeds (with `git checkout` of the commit before the decider), and what the
checker said. `seeds` are those on which it is seen today, with the defect restored by the patch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from nats.js import api

from bus.envelope import Entry
from bus.errors import Conflict
from bus.log import Log
from schemas.base import Value
from services.answered import Answered
from services.deciding import Decider
from services.executor import domain as executor
from services.executor.stopping import stops
from services.scheduler.versions import Versions


class Defect(Value, frozen=True, kw_only=True):
    """A defect: what it was, how it is put back, and seeds on which one of `rules` is seen to be broken."""

    what: str
    restored: Callable[[], AbstractContextManager[None]]
    seeds: tuple[int, ...]
    rules: frozenset[str]


@contextmanager
def _decides_again_unread() -> Generator[None]:
    """After a time-out it decides again at once: what it appended in the same pass has moved its guards already."""
    read_back = Decider._read_back

    async def read_after_conflict(self: Decider, guards: Sequence[str]) -> None:
        if isinstance(sys.exc_info()[1], Conflict):
            await read_back(self, guards)
        else:
            self._appended = 0

    with patch.object(Decider, "_read_back", read_after_conflict):
        yield


@contextmanager
def _trusts_every_due() -> Generator[None]:
    """What a scheduler said is due is executed, whatever definitions it had not seen."""
    with patch.object(Versions, "outdated", lambda self, *args, **given: False):
        yield


@contextmanager
def _forgets_commands() -> Generator[None]:
    """A command is answered again when it comes again after the duplicate window."""
    with patch.object(Answered, "__contains__", lambda self, id_: False):
        yield


@contextmanager
def _stops_for_two_reasons() -> Generator[None]:
    """In one decision an execution is stopped because a newer one takes its place, and because its time is over."""
    with patch.object(executor, "stops", lambda state, stopping: stops(state, ())):
        yield


@contextmanager
def _takes_the_unreadable() -> Generator[None]:
    """The last message of a subject is the last one, readable or not."""

    async def latest(self: Log, subjects: Sequence[str], *, until: int | None = None) -> list[Entry]:
        entries: list[Entry] = []
        policy: Any = api.DeliverPolicy.LAST_PER_SUBJECT
        async for page in self._consume(subjects, policy, after=0):
            entries += page.entries
            if page.caught_up:
                break
        return entries

    with patch.object(Log, "latest", latest):
        yield


DEFECTS: dict[str, Defect] = {
    "decides-again-unread": Defect(
        what="an execution is started twice after a time-out in the middle of a pass",
        restored=_decides_again_unread,
        seeds=(163, 167, 263),
        rules=frozenset({"started twice", "two outcomes"}),
    ),
    "trusts-every-due": Defect(
        what="a scheduler that was paused, or lags, fires what has been disabled or changed",
        restored=_trusts_every_due,
        seeds=(51, 155, 297),
        rules=frozenset({"fired though not scheduled"}),
    ),
    "forgets-commands": Defect(
        what="the same key after two minutes runs the execution again",
        restored=_forgets_commands,
        seeds=(11, 36, 51),
        rules=frozenset({"started twice", "two outcomes"}),
    ),
    "stops-for-two-reasons": Defect(
        what="one decision says two `flow.cancelling` with one id",
        restored=_stops_for_two_reasons,
        seeds=(),
        rules=frozenset({"said twice", "replay"}),
    ),
    "takes-the-unreadable": Defect(
        what="an unreadable message makes a restarted scheduler repeat occurrences, and a registry forget definitions",
        restored=_takes_the_unreadable,
        seeds=(18, 59),
        rules=frozenset({"said twice", "forgotten definition", "two outcomes", "names"}),
    ),
}
