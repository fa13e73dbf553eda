"""The course of one execution: each of its VMs from planned to ended, as the log tells it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from bus.envelope import Stored
from schemas.events import (
    AttemptEvent,
    BackupCancelled,
    BackupCompleted,
    BackupEvent,
    BackupFailed,
    BackupRequested,
    BackupRetrying,
    BackupSkipped,
    BackupStarted,
    FlowPlanned,
    FlowStarted,
    PlannedBackup,
)
from services.explanation.slots import Admission, Wait
from services.explanation.survey import Run, Survey


class Attempt:
    """An attempt at a backup. `failed`: that it failed and another one follows."""

    def __init__(self, number: int, started: Stored, worker: str) -> None:
        self.number = number
        self.started = started
        self.worker = worker
        self.failed: Stored | None = None


class Job:
    """One VM in an execution."""

    def __init__(self, planned: PlannedBackup) -> None:
        self.context_id = planned.context_id
        self.name = planned.vm_name or planned.context_id
        self.requests: list[Stored] = []
        self.wait: Wait | None = None  # what it waited for before the first request
        self.attempts: list[Attempt] = []
        self.end: Stored | None = None
        self.outdated: list[Stored] = []  # ends of older attempts, that count for nothing

    @property
    def outcome(self) -> str:
        """How it ended: `done`, `failed`, `cancelled` or `skipped`; while it has not, `open`."""
        match self.end.envelope.data if self.end else None:
            case BackupCompleted():
                return "done"
            case BackupFailed():
                return "failed"
            case BackupCancelled():
                return "cancelled"
            case BackupSkipped():
                return "skipped"
            case _:
                return "open"

    def open_at(self, sequence: int) -> bool:
        return self.end is None or self.end.sequence > sequence

    def runs_at(self, sequence: int) -> bool:
        """Tell whether a worker had begun it, and it had not ended, at a sequence."""
        return bool(self.attempts) and self.attempts[0].started.sequence < sequence and self.open_at(sequence)


class Course:
    """How an execution went. `take` changes it in place; it is given all messages, as others hold slots too."""

    def __init__(self, survey: Survey, run: Run, started: Stored, terms: FlowStarted) -> None:
        self._execution_id = run.id
        self._begin = started.sequence
        self._end = run.completed.sequence if run.completed else None
        self._waiting: dict[str, str] = {}  # VMs that wait for a slot: their backups
        self.admission = Admission(survey.definitions, started, terms)
        self.jobs: dict[str, Job] = {}  # by backup, in the plan's order
        for _, part in sorted(run.parts.items()):
            if isinstance(planned := part.envelope.data, FlowPlanned):
                self.jobs.update({one.backup_id: Job(one) for one in planned.backups if one.backup_id not in self.jobs})

    def fold(self, entries: Iterable[Stored]) -> Course:
        """Take in the messages of a log, as far as they matter."""
        for entry in entries:
            if self._end is not None and entry.sequence > self._end:
                break
            self.take(entry)
        return self

    def take(self, entry: Stored) -> None:
        """Take in one message."""
        if entry.sequence == self._begin:
            self._waiting = {job.context_id: id_ for id_, job in self.jobs.items()}
        self.admission.take(entry, self._waiting)
        event = entry.envelope.data
        if isinstance(event, BackupEvent) and event.execution_id == self._execution_id:
            job = self.jobs.get(event.backup_id)
            if job is not None:
                self._evolve(job, entry, event)

    def _evolve(self, job: Job, entry: Stored, event: BackupEvent) -> None:
        match event:
            case BackupRequested():
                if not job.requests:
                    job.wait = self.admission.waited_for(job.context_id)
                job.requests.append(entry)
                self._waiting.pop(job.context_id, None)
            case BackupStarted() if job.end is None:
                if not job.attempts or event.attempt > job.attempts[-1].number:
                    job.attempts.append(Attempt(event.attempt, entry, event.worker))
            case BackupRetrying():
                for attempt in job.attempts:
                    if attempt.number == event.attempt and attempt.failed is None:
                        attempt.failed = entry
            case BackupCompleted() | BackupFailed() | BackupCancelled() | BackupSkipped():
                self._finish(job, entry, event)
            case _:
                pass

    def _finish(self, job: Job, entry: Stored, event: BackupEvent) -> None:
        newest = job.attempts[-1].number if job.attempts else 0
        if isinstance(event, AttemptEvent) and event.attempt < newest:
            job.outdated.append(entry)
        elif job.end is None:
            job.end = entry
            self._waiting.pop(job.context_id, None)
