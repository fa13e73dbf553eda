"""One pass over a log: what it says of requests, occurrences, executions and backups, and what cannot be so.

It reads the messages; of the services it knows nothing.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from bus.envelope import Entry, Stored
from schemas import commands as c
from schemas import events as e
from schemas.base import Value
from schemas.definitions import Flow, Repository, Schedule, Settings
from schemas.ids import ENGINE, backfill_execution_id, manual_execution_id, scheduled_execution_id

EARLY = timedelta(seconds=31)  # a scheduler's clock may be off by so much, and it may still say what time it is
SLACK = timedelta(seconds=61)  # around a change, clocks that differ may place an occurrence before it or after
OUTCOMES = (
    e.Rejected,
    e.FlowStarted,
    e.FlowSkipped,
    e.FlowCancelling,
    e.FlowBackfilling,
    e.FlowBackfillCancelled,
)
DECISIONS = ("catalog.", "rejected.", "flow.", "backup.requested.", "backup.skipped.", "backup.abandoned.")
CHANGED = "definition_changed"  # a skip that says: this was decided on what is no more, it counts for nothing


class Violation(Value, frozen=True, kw_only=True):
    """A promise that was not kept. `rule` names it; shrinking keeps the rule, whatever the words."""

    rule: str
    text: str
    sequence: int = 0

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}" + (f" (message {self.sequence})" if self.sequence else "")


class Span:
    """A stretch of time over which a flow is on a schedule: after `after`, up to `until` (None: until the end)."""

    def __init__(self, schedule: Schedule, after: datetime, known: datetime, sequence: int) -> None:
        self.every = int(schedule.cron_expression.split()[0].removeprefix("*/"))
        self.key = (schedule.id, schedule.cron_expression, after)
        self.after = after
        self.known = known  # when the log had the definition that it begins with
        self.since = sequence
        self.until: datetime | None = None
        self.closed: datetime | None = None  # when the log had the definition that ends it
        self.ended = 0

    def occurrences(self, after: datetime, until: datetime) -> Iterator[datetime]:
        at = after.replace(second=0, microsecond=0)
        while at <= until:
            if at > after and at.minute % self.every == 0:
                yield at
            at += timedelta(minutes=1)


class Backup:
    """What the log says of one backup."""

    def __init__(self, context_id: str) -> None:
        self.context_id = context_id
        self.attempt = 0
        self.in_flight = False
        self.end: str | None = None
        self.ends = 0
        self.admitted = 0  # where on the log the decision was taken that gave it a slot


class Execution:
    """What the log says of one execution."""

    def __init__(self, sequence: int, started: e.FlowStarted) -> None:
        self.sequence = sequence
        self.started = started
        self.backups: dict[str, Backup] = {}
        self.completed: list[tuple[int, e.FlowCompleted]] = []
        self.stopping = False


class History:
    """One pass over a log: what it says of requests, occurrences, executions and backups, and what cannot be so."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.violations: list[Violation] = []
        self.commands: dict[str, tuple[int, c.Command]] = {}
        self.asked: dict[str, list[int]] = defaultdict(list)  # by command: where it stands
        self.answers: dict[str, list[int]] = defaultdict(list)  # by command: the first of each group of outcomes
        self.starts: dict[str, list[int]] = defaultdict(list)  # by execution
        self.skips: dict[str, list[tuple[int, e.FlowSkipped]]] = defaultdict(list)
        self.executions: dict[str, Execution] = {}
        self.spans: dict[str, list[Span]] = defaultdict(list)
        self.missed: dict[str, list[tuple[int, e.FlowMissed]]] = defaultdict(list)
        self.dues: dict[str, list[tuple[int, e.FlowDue]]] = defaultdict(list)
        self.expected: dict[str, int] = {}  # executions that somebody or some time asked for, and where
        self.ids: dict[str, list[int]] = defaultdict(list)
        self.dead: Counter[int] = Counter()
        self.unreadable: list[Entry] = []
        self._flows: dict[str, Flow] = {}
        self._schedules: dict[str, Schedule] = {}
        self._versions: dict[tuple[str, str], int] = {}
        self._exists: dict[tuple[str, str], bool] = {}
        # by repository, and in all: of `ENGINE`, which has none before anybody has set one
        self._limits: dict[str, list[tuple[int, int | None]]] = defaultdict(list, {ENGINE: [(0, None)]})
        self._behind: Counter[int] = (
            Counter()
        )  # by position: requests decided there, with a change of the limit between
        self._in_flight: dict[str, tuple[Execution, Backup]] = {}
        self._last_group: tuple[str | None, int] = (None, 0)
        for entry in entries:
            if isinstance(entry, Stored):
                self._take(entry)
            else:
                self.unreadable.append(entry)

    def _wrong(self, rule: str, text: str, entry: Entry | None = None) -> None:
        self.violations.append(Violation(rule=rule, text=text, sequence=entry.sequence if entry else 0))

    # --- the pass -----------------------------------------------------------------------------------------------------

    def _take(self, entry: Stored) -> None:
        sent, data = entry.envelope, entry.envelope.data
        if entry.subject.startswith(DECISIONS):
            self.ids[sent.id].append(entry.sequence)
        self._outcome(entry)
        match data:
            case c.Command():
                self.asked[sent.id].append(entry.sequence)
                self.commands.setdefault(sent.id, (entry.sequence, data))
                if isinstance(data, c.ExecuteFlow | c.RetryExecution | c.BackupVm):
                    self.expected.setdefault(manual_execution_id(sent.id), entry.sequence)
            case e.Rejected():
                if data.code == "not_found" and data.entity != "freeze" and self._exists.get((data.entity, data.id)):
                    self._wrong("forgotten definition", f"{data.entity} {data.id!r} exists: {data.reason}", entry)
            case e.FlowDue():
                self.dues[data.flow_id].append((entry.sequence, data))
                self.expected.setdefault(scheduled_execution_id(data.flow_id, data.occurrence), entry.sequence)
                if entry.stored_at < data.occurrence - EARLY:
                    self._wrong("early", f"{data.flow_id} at {data.occurrence:%H:%M} was fired too early", entry)
            case e.FlowMissed():
                self.missed[data.flow_id].append((entry.sequence, data))
            case e.FlowBackfilling():
                for occurrence in data.occurrences:
                    self.expected.setdefault(backfill_execution_id(data.backfill_id, occurrence), entry.sequence)
            case e.FlowCancelling():
                self._stopping(entry, data)
            case e.FlowSkipped():
                self.skips[data.execution_id].append((entry.sequence, data))
            case e.FlowStarted():
                self.starts[data.execution_id].append(entry.sequence)
                self.executions.setdefault(data.execution_id, Execution(entry.sequence, data))
                if data.execution_type == "scheduled":
                    self._scheduled(entry, data)
            case e.FlowPlanned():
                if execution := self.executions.get(data.execution_id):
                    for backup in data.backups:
                        execution.backups.setdefault(backup.backup_id, Backup(backup.context_id))
            case e.FlowCompleted():
                self._completed(entry, data)
            case e.DeadLettered():
                self.dead[data.sequence] += 1
            case e.CatalogEvent():
                self._defined(entry, data)
            case e.BackupEvent():
                self._backup(entry, data)
            case _:
                pass

    def _outcome(self, entry: Stored) -> None:
        cause, data = entry.envelope.causationid, entry.envelope.data
        if cause is None or not isinstance(data, (*OUTCOMES, e.CatalogEvent)):
            return
        if isinstance(data, e.FlowCancelling) and data.origin != "asked":
            return
        # the definitions that one command changes stand together
        together = isinstance(data, e.CatalogEvent) and self._last_group == (cause, entry.sequence - 1)
        if not together:
            self.answers[cause].append(entry.sequence)
        self._last_group = (cause, entry.sequence)

    def _defined(self, entry: Stored, event: e.CatalogEvent) -> None:
        kind = entry.subject.split(".")[1]
        definition = getattr(event, "definition", None)
        key = (kind, event.id)
        before = self._versions.get(key)
        # one that was deleted may come again, and begins anew
        if before is not None and event.version not in {before, before + 1} and self._exists.get(key):
            self._wrong("versions", f"{kind} {event.id!r} goes from version {before} to {event.version}", entry)
        self._versions[key] = event.version
        self._exists[key] = definition is not None
        if isinstance(definition, Repository | Settings):
            self._limits[event.id].append((entry.sequence, definition.max_concurrent_jobs))
        if kind == "flow":
            if definition is None:
                self._flows.pop(event.id, None)
            else:
                twin = next(
                    (f.id for f in self._flows.values() if f.name == definition.name and f.id != event.id), None
                )
                if twin is not None:
                    self._wrong("names", f"flows {event.id!r} and {twin!r} have one name", entry)
                self._flows[event.id] = definition
            self._reschedule(entry, event.id)
        if kind == "schedule":
            if definition is None:
                self._schedules.pop(event.id, None)
            else:
                self._schedules[event.id] = definition
            for flow in sorted(self._flows.values(), key=lambda one: one.id):
                if flow.schedule_id == event.id:
                    self._reschedule(entry, flow.id)

    def _reschedule(self, entry: Stored, flow_id: str) -> None:
        """End the stretch that a flow was on when it is on another one from here on."""
        flow = self._flows.get(flow_id)
        schedule = self._schedules.get(flow.schedule_id or "") if flow else None
        on = flow is not None and flow.enabled and schedule is not None and schedule.enabled
        spans = self.spans[flow_id]
        current = spans[-1] if spans and spans[-1].until is None else None
        new = None
        if on:
            assert flow is not None
            assert schedule is not None
            new = Span(schedule, max(flow.armed_at, schedule.armed_at), entry.stored_at, entry.sequence)
        if current is not None and new is not None and current.key == new.key:
            return
        if current is not None:
            current.until, current.closed, current.ended = entry.envelope.time, entry.stored_at, entry.sequence
        if new is not None:
            spans.append(new)

    def _scheduled(self, entry: Stored, started: e.FlowStarted) -> None:
        """Check that an occurrence that is executed was one, by the definitions that the log had when it was due."""
        at = started.occurrence
        due = max(
            (seq for seq, due in self.dues[started.flow_id] if due.occurrence == at and seq < entry.sequence), default=0
        )
        if at is None or not due:
            self._wrong("unasked", f"{started.flow_id} at {at} was executed without being due", entry)
            return
        for span in self.spans[started.flow_id]:
            matches = span.since < due and span.after < at and at.minute % span.every == 0
            if matches and (not span.ended or span.ended > due or (span.until is not None and at <= span.until)):
                return
        self._wrong(
            "fired though not scheduled",
            f"{started.flow_id} at {at:%H:%M:%S} was executed; it was due (message {due}) after its schedule had been "
            "disabled or changed",
            entry,
        )

    def _backup(self, entry: Stored, event: e.BackupEvent) -> None:
        execution = self.executions.get(event.execution_id)
        backup = execution.backups.get(event.backup_id) if execution else None
        if execution is None or backup is None:
            self._wrong("unplanned", f"backup {event.backup_id} is in no plan", entry)
            return
        match event:
            case e.BackupRequested():
                if backup.end is None:
                    self._requested(entry, execution, backup, event)
            case e.BackupStarted():
                backup.attempt = max(backup.attempt, event.attempt)
            case e.BackupCompleted():
                self._ended(execution, backup, event.backup_id, "success", event.attempt)
            case e.BackupFailed():
                self._ended(execution, backup, event.backup_id, "error", event.attempt)
            case e.BackupCancelled():
                self._ended(execution, backup, event.backup_id, "cancelled", event.attempt)
            case e.BackupSkipped():
                self._ended(execution, backup, event.backup_id, "skipped", None)
            case e.BackupAbandoned():
                backup.in_flight = False
                self._in_flight.pop(event.backup_id, None)
            case _:
                pass

    def _ended(self, execution: Execution, backup: Backup, id_: str, end: str, attempt: int | None) -> None:
        """Take in an end: the first one of the newest attempt counts."""
        if backup.end is not None or (attempt is not None and attempt < backup.attempt):
            return
        backup.end, backup.in_flight = end, False
        self._in_flight.pop(id_, None)

    def _requested(self, entry: Stored, execution: Execution, backup: Backup, event: e.BackupRequested) -> None:
        if backup.in_flight:
            self._wrong("requested twice", f"backup {event.backup_id} is under way already", entry)
        backup.in_flight = True
        self._in_flight[event.backup_id] = (execution, backup)
        others = self._in_flight.values()
        of_vm = sum(one.context_id == backup.context_id for _, one in others)
        of_flow = sum(one.started.flow_id == event.flow_id for one, _ in others)
        of_repository = sum(one.started.repository_id == event.repository_id for one, _ in others)
        if event.round == 1:  # requested anew, it has had its slot all the time
            backup.admitted = int(entry.envelope.decidedon or entry.sequence)
        in_all = self._limit(ENGINE, backup.admitted)
        if event.round == 1 and self._limits[ENGINE][-1][0] > backup.admitted:
            # a request that is appended alone has no room for a guard on the limit; several have, and the first ones
            self._behind[backup.admitted] += 1
            if self._behind[backup.admitted] > 1 or execution.sequence > backup.admitted:
                in_all = self._limit(ENGINE, entry.sequence)
        checks = [
            ("in all", len(others), in_all),
            (f"of VM {backup.context_id}", of_vm, 1),
            (f"of flow {event.flow_id}", of_flow, execution.started.max_concurrent_jobs),
            (f"in {event.repository_id}", of_repository, self._limit(event.repository_id, backup.admitted)),
        ]
        for what, taken, limit in checks:
            if limit is not None and taken > limit:
                self._wrong("limit", f"{taken} backups {what} under way, at most {limit} may be", entry)

    def _limit(self, of: str, decided: int) -> int | None:
        """Return the limit of a repository, or in all: the loosest since a decision was taken."""
        limits = self._limits[of]
        first = max(0, bisect.bisect_right([sequence for sequence, _ in limits], decided) - 1)
        some = [limit for _, limit in limits[first:]]
        return None if not some or None in some else max(limit for limit in some if limit is not None)

    def _stopping(self, entry: Stored, event: e.FlowCancelling) -> None:
        """Check that nothing is stopped by itself that is stopping already. People may say it again."""
        execution = self.executions.get(event.execution_id)
        if execution is None or event.context_id is not None:
            return
        if execution.stopping and event.origin != "asked":
            self._wrong("stopped twice", f"execution {event.execution_id} is stopping already", entry)
        execution.stopping = True

    def _completed(self, entry: Stored, event: e.FlowCompleted) -> None:
        execution = self.executions.get(event.execution_id)
        if execution is None:
            self._wrong("unasked", f"execution {event.execution_id} ends without having begun", entry)
            return
        execution.completed.append((entry.sequence, event))
        if len(execution.completed) > 1:
            self._wrong("ended twice", f"execution {event.execution_id} ends again", entry)
            return
        ends = Counter(backup.end for backup in execution.backups.values())
        right = (len(execution.backups), ends["success"], ends["error"], ends["cancelled"] + ends["skipped"])
        said = (event.jobs_created, event.jobs_completed, event.jobs_failed, event.jobs_skipped)
        if said != right or ends[None]:
            self._wrong("counters", f"execution {event.execution_id} ends with {said}; the log says {right}", entry)
