"""Negative controls: defects of the past, put back into today's code. On each the checker must turn red.

A simulator that finds nothing proves nothing, unless it finds what is known to be wrong. Each was first seen on the
code that had it, by this simulator as it was then (1,500 seeds, 293 of them red):

| defect | seeds | what the checker said |
|---|---|---|
| decides again after a time-out, without having read | 30, 56, 79 | started twice, requested twice |
| a lost attempt answers for the newer one | 393, 695, 835 | two attempts at one backup at once in one worker |
| a scheduler that lags fires what was disabled | 243, 433, 873 | fired though not scheduled |
| the same key after two minutes | 6, 9, 13 | started twice, two outcomes |
| two stops in one decision | 1041, 1451 | said twice, replay |
| an unreadable last message | 7, 71, 218, 623 | said twice, two outcomes, forgotten definition |
| (beyond the list) an occurrence skipped as outdated is due again | 1115, 7490, 8281 | said twice |
| (beyond the list) a stale executor skips what another one has started | 150, 1072 | two outcomes |
| (beyond the list) a refusal whose time-out had an effect is said again | 731, 1356 | two outcomes |
| (beyond the list) once a dead letter has expired, the next one is never written | 595 | dead letter |

`seeds` below are those on which a defect is seen today, with the patch that restores it. When services or scenarios
change, other seeds show it: `python -m tests.simulation 2000 --defect NAME --unshrunk` finds them.
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
from bus.subjects import BESIDE
from schemas.base import Value
from services.deciding import Decider
from services.executor import domain as executor
from services.executor.stopping import stops
from services.processed import ProcessedIds
from services.scheduler.domain import State as Scheduled
from services.scheduler.versions import Versions
from services.worker.app import Worker


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
    with patch.object(ProcessedIds, "__contains__", lambda self, id_: False):
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


@contextmanager
def _repeats_what_was_skipped() -> Generator[None]:
    """What was due by replaced definitions, and skipped, is due again when later definitions change back."""
    with patch.object(Scheduled, "has_outcome", lambda self, flow_id, at: False):
        yield


class _Forgetful(dict[str, Any]):
    """Holds what a worker is at work on, and does not find it."""

    def get(self, key: str, default: Any = None) -> Any:
        del key
        return default

    def __delitem__(self, key: str) -> None:
        self.pop(key, None)


@contextmanager
def _takes_a_backup_twice() -> Generator[None]:
    """A worker that is given a backup again that it is at work on begins it again, beside itself."""
    make = Worker.__init__

    def forgetful(self: Any, **given: Any) -> None:
        make(self, **given)
        self._held = _Forgetful()

    with patch.object(Worker, "__init__", forgetful):
        yield


@contextmanager
def _requests_on_any_limits() -> Generator[None]:
    """Requests are guarded on requests alone, as if they did not rest on limits."""
    with patch.dict(BESIDE, clear=True):
        yield


DEFECTS: dict[str, Defect] = {
    "decides-again-unread": Defect(
        what="an execution is started twice after a time-out in the middle of a pass",
        restored=_decides_again_unread,
        seeds=(137, 163, 167),
        rules=frozenset({"started twice", "two outcomes"}),
    ),
    "trusts-every-due": Defect(
        what="a scheduler that was paused, or lags, fires what has been disabled or changed",
        restored=_trusts_every_due,
        seeds=(155, 175, 227),
        rules=frozenset({"fired though not scheduled"}),
    ),
    "forgets-commands": Defect(
        what="the same key after two minutes runs the execution again",
        restored=_forgets_commands,
        seeds=(11, 36, 42),
        rules=frozenset({"started twice", "two outcomes"}),
    ),
    "stops-for-two-reasons": Defect(
        what="one decision says two `flow.cancelling` with one id",
        restored=_stops_for_two_reasons,
        seeds=(65, 112, 122),
        rules=frozenset({"stopped twice", "said twice", "replay"}),
    ),
    "takes-a-backup-twice": Defect(
        what="two attempts at one backup run at once in one worker, and one of them answers for the other",
        restored=_takes_a_backup_twice,
        seeds=(41, 103, 208),
        rules=frozenset({"fence"}),
    ),
    "repeats-what-was-skipped": Defect(
        what="an occurrence that was skipped as outdated is due once more when definitions change back",
        restored=_repeats_what_was_skipped,
        seeds=(7490, 7975, 8281),
        rules=frozenset({"said twice"}),
    ),
    "requests-on-any-limits": Defect(
        what="a limit is lowered, and behind it stand requests that had been decided before, as many as there were",
        restored=_requests_on_any_limits,
        seeds=(7165, 8327, 8873),
        rules=frozenset({"limit"}),
    ),
    "takes-the-unreadable": Defect(
        what="an unreadable message makes a restarted scheduler repeat occurrences, and a registry forget definitions",
        restored=_takes_the_unreadable,
        seeds=(101, 313, 449),
        rules=frozenset({"said twice", "forgotten definition", "two outcomes", "names"}),
    ),
}
