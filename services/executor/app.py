"""The executor's shell: runs executions from due to completed. Any number of them may run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bus.clock import Clock, now
from bus.envelope import Entry, Stored
from bus.log import Log
from bus.subjects import CATALOG
from bus.tasks import together
from services.checkpoints import Checkpoints
from services.deciding import Decider
from services.decision import Batch
from services.executor.deliveries import Outstanding, abandonment
from services.executor.domain import decide
from services.executor.state import READS, State, evolve
from services.executor.watch import watch
from services.hosting import Subscribe

CALENDARS = ("catalog.flow.*", "catalog.schedule.*")


class Executor:
    """Runs executions from due to completed."""

    name = "executor"
    reads: Sequence[str] = READS

    def __init__(self, *, clock: Clock = now) -> None:
        self._clock = clock  # for what is observed; decisions take their time from the log
        self._state = State()
        self.set_aside = self._state.set_aside

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        del subscribe  # nothing to subscribe: the executor follows
        self._log = log
        self._checkpoints = Checkpoints(log, self.name)
        start, self._state.processed = await self._checkpoints.load()
        if start:
            # definitions as they were then; of what decides when flows run, all versions
            versions = await log.read(CALENDARS, until=start)
            known = {entry.sequence for entry in versions}
            others = [entry for entry in await log.latest([CATALOG], until=start) if entry.sequence not in known]
            self.set_aside.fold(self.evolve, sorted([*versions, *others], key=lambda entry: entry.sequence))
        self._decider = Decider(log, self, start=start, clock=self._clock, before=self._save)

    @property
    def position(self) -> int:
        return self._decider.position

    async def run(self) -> None:
        await together(self._decider.run(), watch(self._log, self._outstanding, self._abandon))

    def _outstanding(self) -> list[Outstanding]:
        """Return the requests of backups in flight that are not abandoned yet."""
        return [
            Outstanding(
                flow_id=execution.started.flow_id,
                execution_id=execution.started.execution_id,
                backup_id=backup_id,
                context_id=execution.in_flight[backup_id].context_id,
                request=request.sequence,
                delay=request.delay,
                pool=request.pool,
                worker_labels=request.worker_labels,
            )
            for execution in self._state.executions.values()
            for backup_id, request in execution.requests.items()
            if backup_id not in self._state.abandoned
        ]

    def _is_outstanding(self, one: Outstanding) -> bool:
        execution = self._state.executions.get(one.execution_id)
        request = execution.requests.get(one.backup_id) if execution else None
        return request is not None and request.sequence == one.request and one.backup_id not in self._state.abandoned

    async def _abandon(self, one: Outstanding) -> bool:
        """Say that a request is abandoned; False when it is outstanding no more. Raises `LogError`."""
        return await self._decider.observe(abandonment(one), holds=lambda: self._is_outstanding(one))

    def evolve(self, entry: Entry) -> None:
        if isinstance(entry, Stored):
            evolve(self._state, entry)

    def decide(self, at: datetime) -> Sequence[Batch]:
        del at  # only the scheduler knows the time
        return decide(self._state)

    def wake_at(self, at: datetime) -> datetime | None:
        del at

    async def _save(self, due: bool) -> None:
        """Save a checkpoint: what is before the oldest unfinished thing need not be read again."""
        if not due:
            oldest = self._state.oldest
            await self._checkpoints.save(
                self._decider.position if oldest is None else oldest - 1, self._state.processed
            )
