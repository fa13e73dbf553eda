"""The gateway: appends a command, and hears its outcome on the log (DESIGN §7, read your writes)."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable

from bus.clock import now
from bus.envelope import Entry, Envelope, Stored, envelope
from bus.log import Log
from schemas.base import Value
from schemas.commands import Command, ExecuteFlow
from schemas.events import (
    Defined,
    FlowBackfillCancelled,
    FlowBackfilling,
    FlowCancelling,
    FlowSkipped,
    FlowStarted,
    Rejected,
)
from schemas.ids import manual_execution_id

OUTCOMES = (
    *("catalog.*.*", "rejected.*.*", "flow.started.*", "flow.skipped.*", "flow.cancelling.*"),
    *("flow.backfilling.*", "flow.backfill_cancelled.*"),
)

Answer = Defined | Rejected | FlowStarted | FlowSkipped | FlowCancelling | FlowBackfilling | FlowBackfillCancelled


class Outcome(Value, frozen=True, kw_only=True):
    """The answer to a command, and where on the log it stands."""

    sequence: int
    answer: Answer


class Gateway:
    """Asks, and listens for answers. `run` must be running."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._position = 0  # of the last outcome heard
        self._waiting: dict[str, set[asyncio.Future[Outcome]]] = {}  # by command

    async def run(self, listening: asyncio.Event) -> None:
        """Hear outcomes until cancelled; `listening` is set once none can be missed."""
        start = (await self._log.identity()).last_sequence

        async def ready() -> None:
            listening.set()

        async for batch in self._log.follow(OUTCOMES, after=start, ready=ready):
            self._position = batch.position
            for command_id, outcome in _outcomes(batch.entries, self._waiting).items():
                for future in self._waiting[command_id]:
                    if not future.done():
                        future.set_result(outcome)

    async def ask(self, command: Command, *, id: str, actor: str, patience: float) -> Outcome | None:  # noqa: A002
        """Append a command and return its outcome, None when there is none within `patience` seconds.

        Raises `LogError` when the command is not on the log, or may not be; asking again with the same id is safe.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(id, set())
        waiting.add(future)
        try:
            sequence = await self._log.ask(_envelope(command, id, actor))
            if sequence < self._position and not future.done():
                # it was asked before, with the same id, and its outcome may have gone by
                before = _outcomes(await self._log.read(OUTCOMES, after=sequence), {id})
                if id in before:
                    return before[id]
            async with asyncio.timeout(patience):
                return await future
        except TimeoutError:
            return None
        finally:
            waiting.discard(future)
            if not waiting:
                self._waiting.pop(id, None)


def _outcomes(entries: Iterable[Entry], commands: Container[str | None]) -> dict[str, Outcome]:
    """Return the outcomes of these commands. One may have several events, together on the log: the last one counts."""
    return {
        entry.envelope.causationid: Outcome(sequence=entry.sequence, answer=entry.envelope.data)
        for entry in entries
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, Answer)
        if entry.envelope.causationid is not None and entry.envelope.causationid in commands
        if not (isinstance(entry.envelope.data, FlowCancelling) and entry.envelope.data.origin != "asked")
    }


def _envelope(command: Command, id_: str, actor: str) -> Envelope:
    # what belongs to one execution shares its id; what belongs to one change of definitions, the command's
    correlation = manual_execution_id(id_) if isinstance(command, ExecuteFlow) else id_
    return envelope(command, id=id_, source="api", time=now(), actor=actor, correlationid=correlation)
