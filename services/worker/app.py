"""The worker's shell: takes `backup.requested` with a free slot, has an engine run, and reports what became of it.

Whether a backup is to run was decided by the executor, and each message is the whole of the work. What has been done
about it already, the log tells: deliveries may come again, and the server's count of them does not survive its crash.

An attempt owns its delivery (ADR 13). The server takes an acknowledgement of a message for whoever has it just now, so
a worker that has lost its attempt stays silent: it reports nothing, acknowledges nothing, and gives no sign of life. It
asks the log about its own backups alone (ADR 27): when one is delivered, before each sign of life, and when a report is
refused, as each is appended on the condition that nobody else has said anything about the backup since. What it cannot
report, as the connection is cut, it keeps until it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bus.clock import Clock, now
from bus.connection import worker_name
from bus.envelope import Stored
from bus.errors import Unavailable, Unknown
from bus.log import Log
from bus.stream import WORKER_QUEUE
from bus.tasks import cancel_and_wait
from schemas.events import BackupRequested
from services.consuming import Ack, Delivery, Nack, Outcome
from services.hosting import Subscribe
from services.worker.engines.engine import Engine
from services.worker.engines.loading import load
from services.worker.followed import READS, Followed
from services.worker.history import History
from services.worker.inspector import Inspector
from services.worker.outbox import Outbox
from services.worker.presence import Presence
from services.worker.queues import PoolQueues
from services.worker.record import Record
from services.worker.reports import Reports
from services.worker.run import Run, Stopping
from services.worker.runner import Runner


class Worker:
    """Runs one backup engine for each VM, `slots` at a time. `worker_id` is its own among all that run at once.

    `own`: folders and files of the engine, which are nobody's disk. `outbox`: the folder of what cannot be reported
    yet; None: it is kept in memory. `labels`: it serves what requires none, and what requires no others than these.
    `enrolment`: the name that it is enrolled by; None: it is the user of NATS that all workers share.
    """

    name = "worker"
    reads: Sequence[str] = READS

    def __init__(
        self,
        *,
        slots: int = 4,
        engines: Mapping[str, Engine] | None = None,
        clock: Clock = now,
        worker_id: str | None = None,
        own: Sequence[str] = (),
        outbox: Path | None = None,
        labels: Mapping[str, str] | None = None,
        enrolment: str | None = None,
    ) -> None:
        self._slots = slots
        self._labels = dict(labels or {})
        self._engines = load(own) if engines is None else engines
        self._clock = clock
        self._enrolment = enrolment
        self._id = worker_id or (f"{enrolment}.{worker_name()}" if enrolment else worker_name())
        self._outbox = Outbox(outbox)
        self._held: dict[str, Run] = {}  # by backup
        self._stopping = asyncio.Event()

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        self._queues = PoolQueues(log, self._labels)
        await self._queues.look()
        self._followed = Followed(log)
        self._history = History(log, self._followed)
        await self._followed.open()
        await self._history.open()
        self._presence = Presence(
            log,
            self._id,
            slots=self._slots,
            engines=sorted(self._engines),
            labels=self._labels,
            enrolment=self._enrolment,
            held=self._held,
            history=self._history,
            looked=self._stop_runs,
            lease=WORKER_QUEUE.ack_wait,
        )
        self._reports = Reports(log, self._history, self._clock)
        self._runner = Runner(
            self._id,
            self._engines,
            history=self._history,
            followed=self._followed,
            presence=self._presence,
            reports=self._reports,
            outbox=self._outbox,
            stopping=self._stopping,
        )
        self._inspector = Inspector(self._id, self._engines, self._labels)
        await self._inspector.open(log)
        await self._outbox.open()
        await self._settle()  # before anything comes again that was done
        subscribe(self._queues.current, self.handle, slots=self._slots)

    @property
    def position(self) -> int:
        return self._followed.position

    async def run(self) -> None:
        """Follow what is to stop, and let other workers know that this one lives."""
        own = (self._followed.follow(self._stop_runs), self._keep_settling(), self._queues.follow())
        parts = (*own, *self._presence.parts())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._stopping.set()
            for run in self._held.values():
                run.stop()
            await self._inspector.close()
            await cancel_and_wait(*tasks)
            with suppress(Unavailable):
                await self._presence.leave()

    def _stop_runs(self) -> None:
        """Stop the runs that are lost or are to stop, by what was just read of the log."""
        for run in self._held.values():
            if run.record.lost:
                run.lose()
            elif self._followed.reason(run.request):
                run.stop()

    async def _keep_settling(self) -> None:
        """Report what was kept and is nobody's run any more, until it is on the log or counts for nothing."""
        while True:
            await asyncio.sleep(WORKER_QUEUE.ack_wait / 3)
            await self._settle()

    async def _settle(self) -> None:
        for kept in self._outbox.kept:
            if kept.record.request.backup_id not in self._held:
                with suppress(Unavailable, Unknown):
                    await self._runner.settle(kept)

    async def handle(self, delivery: Delivery) -> Outcome:
        """Do one backup. A message that is no request is left to the recorder's dead letters."""
        entry = delivery.entry
        if not (isinstance(entry, Stored) and isinstance(entry.envelope.data, BackupRequested)):
            return Ack()
        request = entry.envelope.data
        if (held := self._held.get(request.backup_id)) is not None:
            held.delivery.join(delivery)
            return None
        if self._stopping.is_set():
            return Nack()
        run = self._held[request.backup_id] = Run(Record(entry, request, self._id), delivery)
        self._presence.changed()
        try:
            return await self._runner.run(run)
        except Stopping:
            del self._held[request.backup_id]  # so the last status does not claim it
            with suppress(Unavailable):
                await self._presence.publish(again=False)
            return Nack()
        except Exception:
            if run.lost:
                delivery.abandon()
            raise
        finally:
            self._held.pop(request.backup_id, None)
            self._presence.changed()
