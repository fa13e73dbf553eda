"""The registry's shell: accepts or rejects changes of definitions. Any number of them may run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bus.envelope import Entry
from bus.log import Log
from bus.subjects import CATALOG
from services.checkpoints import Checkpoints
from services.deciding import Decider
from services.decision import Batch
from services.hosting import Subscribe
from services.registry.domain import READS, State, decide, evolve


class Registry:
    """Decides every command on definitions. `own`: folders and files of the engine, which are nobody's disk."""

    name = "registry"
    reads: Sequence[str] = READS

    def __init__(self, *, own: Sequence[str] = ()) -> None:
        self._state = State()
        self._own = own
        self.set_aside = self._state.set_aside

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        del subscribe  # nothing to subscribe: the registry follows
        self._checkpoints = Checkpoints(log, self.name)
        start, self._state.processed = await self._checkpoints.load()
        if start:
            self.set_aside.fold(self.evolve, await log.latest([CATALOG], until=start))
        self._decider = Decider(log, self, start=start, before=self._save)

    @property
    def position(self) -> int:
        return self._decider.position

    async def run(self) -> None:
        await self._decider.run()

    def evolve(self, entry: Entry) -> None:
        evolve(self._state, entry)

    def decide(self, at: datetime) -> Sequence[Batch]:
        del at  # a command's outcome carries the time of the command
        return decide(self._state, self._own)

    def wake_at(self, at: datetime) -> datetime | None:
        del at

    async def _save(self, due: bool) -> None:
        if not due:
            await self._checkpoints.save(self._decider.position, self._state.processed)
