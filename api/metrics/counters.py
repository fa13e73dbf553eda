"""Counters: what has happened since this process began to listen, counted as the log says it.

Every API process hears all of the log, so each counts everything; where several are scraped, take the `max` of them,
not the sum. A counter that begins at zero after a restart is what Prometheus expects.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from bus.envelope import Stored
from bus.reading import Page
from schemas.events import DeadLettered, FlowCompleted, FlowMissed, FlowSkipped, FlowStarted, Rejected

_LATENESS = (0.5, 1, 2, 5, 15, 60, 300, 1800, 7200, 43200)  # seconds
_DURATION = (1, 10, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600)  # seconds


class Counters:
    """Counts what is heard. Labels are words of the contract alone, never names that people choose."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._occurrences = Counter(
            "flows_occurrences",
            "Occurrences of schedules, by what became of them",
            ["outcome", "reason"],
            registry=self.registry,
        )
        self._lateness = Histogram(
            "flows_lateness_seconds",
            "From an occurrence to the start of its execution",
            buckets=_LATENESS,
            registry=self.registry,
        )
        self._completed = Counter(
            "flows_executions_completed", "Executions that ended, by status", ["status"], registry=self.registry
        )
        self._duration = Histogram(
            "flows_execution_duration_seconds",
            "From start to end of an execution",
            buckets=_DURATION,
            registry=self.registry,
        )
        self._backups = Counter(
            "flows_backups_ended",
            "Backups of executions that ended, by what became of them",
            ["status"],
            registry=self.registry,
        )
        self._bytes = Counter("flows_backup_bytes", "Bytes written to repositories", registry=self.registry)
        self._rejected = Counter(
            "flows_commands_rejected", "Commands that were rejected", ["entity", "code"], registry=self.registry
        )
        self._dead = Counter(
            "flows_dead_letters", "Messages that a service could not use", ["service", "reason"], registry=self.registry
        )

    def hear(self, page: Page) -> None:
        """Count what the log says next."""
        for entry in page.entries:
            if isinstance(entry, Stored):
                self._count(entry)

    def _count(self, entry: Stored) -> None:
        match entry.envelope.data:
            case FlowStarted(occurrence=at, execution_type=kind) if at is not None and kind == "scheduled":
                self._occurrences.labels("executed", "").inc()
                self._lateness.observe(max(0.0, (entry.envelope.time - at).total_seconds()))
            case FlowSkipped(occurrence=at, execution_type=kind, reason=why) if at is not None and kind == "scheduled":
                self._occurrences.labels("skipped", why).inc()
            case FlowMissed(count=number):
                self._occurrences.labels("missed", "").inc(number)
            case FlowCompleted() as ended:
                self._completed.labels(ended.status).inc()
                self._duration.observe(max(0.0, (ended.completed_at - ended.started_at).total_seconds()))
                self._backups.labels("success").inc(ended.jobs_completed)
                self._backups.labels("error").inc(ended.jobs_failed)
                self._backups.labels("skipped").inc(ended.jobs_skipped)
                self._bytes.inc(ended.bytes_transferred)
            case Rejected(entity=entity, code=code):
                self._rejected.labels(entity, code).inc()
            case DeadLettered(service=service, reason=reason):
                self._dead.labels(service, reason).inc()
            case _:
                pass
