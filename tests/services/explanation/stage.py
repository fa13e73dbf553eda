"""A stage: the domains of registry, scheduler and executor on one log, and a clock that is set by hand.

What they decide is appended as their shells do it. Workers are played: what they report is said as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bus.envelope import Stored, envelope
from bus.subjects import matches
from schemas import commands as c
from schemas.base import Message
from schemas.definitions import Disk, FlowSpec, GroupSpec, Member, PolicySpec, RepositorySpec, ScheduleSpec, VmSpec
from schemas.events import (
    BackupAbandoned,
    BackupCancelled,
    BackupCompleted,
    BackupEvent,
    BackupFailed,
    BackupRequested,
    BackupRetrying,
    BackupStarted,
    FlowDue,
    FlowStarted,
)
from schemas.ids import manual_execution_id, scheduled_execution_id
from services.decision import Decision
from services.executor import domain as executor
from services.executor import state as executing
from services.explanation.explanation import explain
from services.explanation.sentences import Question, Told
from services.registry import domain as registry
from services.scheduler import domain as scheduler
from tests.support import stored

BORN = datetime(2026, 11, 1, 8, tzinfo=UTC)
FLOW = "flow-id"


class Stage:
    """An engine without shells. `off`: services that do not run now."""

    def __init__(self, at: datetime = BORN) -> None:
        self.now = at
        self.entries: list[Stored] = []
        self.off: set[str] = set()
        self.question = Question()  # the last one
        self.workers: list[dict[str, str]] | None = None  # labels of those that are there, as far as that is known
        self._registry, self._scheduler, self._executor = registry.State(), scheduler.State(), executing.State()
        self._commands = 0

    # --- what people ask for ---

    def ask(self, *commands: c.Command, by: str = "eve") -> Sequence[str]:
        """Have commands sent, and all that follows decided; return their ids."""
        ids: list[str] = []
        for command in commands:
            self._commands += 1
            ids.append(f"command-{self._commands}")
            of = manual_execution_id(ids[-1]) if isinstance(command, c.ExecuteFlow) else ids[-1]
            self.append(command, id=ids[-1], source="api", actor=by, correlationid=of)
            self.settle()
        return ids

    def house(self, vms: int = 3, *, policy: PolicySpec | None = None, cron: str = "0 2 * * *", **given: Any) -> None:
        """Define a flow over some VMs, on a schedule in Berlin at two. `given`: fields of its schedule and itself."""
        fields = {name: given.pop(name) for name in list(given) if name in FlowSpec.__struct_fields__}
        repository = {"max_concurrent_jobs": given.pop("places", None)}
        names = [f"web-{number}" for number in range(1, vms + 1)]
        members = [Member(context_id=f"id-of-{name}") for name in names]
        schedule = ScheduleSpec(**{"name": "every night", "cron_expression": cron, "timezone": "Europe/Berlin"} | given)
        flow = {"name": "nightly", "flow_type": "backup", "target_type": "group", "target_id": "group-id"}
        flow |= {"repository_id": "nas-id", "policy_id": "policy-id", "schedule_id": "schedule-id"}
        self.ask(
            *(c.CreateVm(id=f"id-of-{name}", spec=_vm(name)) for name in names),
            c.CreateGroup(id="group-id", spec=GroupSpec(name="web servers", members=members)),
            c.CreateRepository(
                id="nas-id", spec=RepositorySpec(name="nas", type="simulated", location="/x", **repository)
            ),
            c.CreatePolicy(id="policy-id", spec=policy or PolicySpec(name="gold")),
            c.CreateSchedule(id="schedule-id", spec=schedule),
            c.CreateFlow(id=FLOW, spec=FlowSpec(**flow | fields)),
            by="admin",
        )

    def another(self, name: str, **given: Any) -> str:
        """Define another flow over the same VMs, without a schedule; return its id."""
        flow = {"name": name, "flow_type": "backup", "target_type": "group", "target_id": "group-id"}
        self.ask(c.CreateFlow(id=f"id-of-{name}", spec=FlowSpec(**flow | {"repository_id": "nas-id"} | given)))
        return f"id-of-{name}"

    # --- time ---

    def wait(self, seconds: float) -> None:
        self.until(self.now + timedelta(seconds=seconds))

    def until(self, at: datetime) -> None:
        """Let time pass; the scheduler wakes up when something is due."""
        while "scheduler" not in self.off and (wake := self._scheduler.wake_at) is not None and wake <= at:
            before = len(self.entries)
            self.now = max(self.now, wake)
            self.settle()
            if len(self.entries) == before:
                break  # it waits for somebody else
        self.now = at
        self.settle()

    def stop(self, service: str) -> None:
        self.off.add(service)

    def start(self, service: str) -> None:
        self.off.discard(service)
        self.settle()

    # --- what workers report ---

    def begin(self, *vms: str, worker: str = "worker-1", attempt: int = 1) -> None:
        """Have a worker begin the newest backups of VMs."""
        for vm in vms:
            self.append(BackupStarted.of(self.request(vm), attempt=attempt, worker=worker), source=worker)
        self.settle()

    def complete(self, *vms: str, attempt: int = 1) -> None:
        for vm in vms:
            done = {"attempt": attempt, "bytes_read": 2, "bytes_transferred": 1, "snapshot_ref": "there"}
            self.append(BackupCompleted.of(self.request(vm), **done))
        self.settle()

    def back_up(self, *vms: str, seconds: float = 20) -> None:
        """Have VMs backed up, all at once."""
        self.begin(*vms)
        self.wait(seconds)
        self.complete(*vms)

    def retry(self, vm: str, error: str, attempt: int = 1) -> None:
        self.append(BackupRetrying.of(self.request(vm), attempt=attempt, error=error, delay_seconds=30))
        self.settle()

    def fail(self, vm: str, error: str, attempt: int = 1) -> None:
        self.append(BackupFailed.of(self.request(vm), attempt=attempt, error=error))
        self.settle()

    def give_up(self, *vms: str, reason: str = "cancelled by bob", attempt: int = 1) -> None:
        for vm in vms:
            self.append(BackupCancelled.of(self.request(vm), attempt=attempt, reason=reason))
        self.settle()

    def lose(self, vm: str) -> None:
        """Have the queue lose a request."""
        request = next(one for one in reversed(self.entries) if one.envelope.data is self.request(vm))
        self.append(BackupAbandoned.of(self.request(vm), request=request.sequence), source="executor")
        self.settle()

    def say_due(self, occurrence: datetime, *, decidedon: int) -> None:
        """Have a scheduler that lags behind say that the flow is due."""
        due = FlowDue(flow_id=FLOW, occurrence=occurrence, schedule_id="schedule-id")
        of = scheduled_execution_id(FLOW, occurrence)
        self.append(due, source="scheduler", decidedon=decidedon, correlationid=of)
        self.settle()

    def request(self, vm: str) -> BackupRequested:
        """Return the newest request of a VM."""
        data = (entry.envelope.data for entry in reversed(self.entries))
        return next(one for one in data if isinstance(one, BackupRequested) and one.context_id == f"id-of-{vm}")

    def execution(self, number: int = -1) -> str:
        data = (entry.envelope.data for entry in self.entries)
        return [one for one in data if isinstance(one, FlowStarted)][number].execution_id

    # --- what is told ---

    def why(self, at: datetime | None = None) -> Told:
        """Return what is told about the flow at an instant, or last."""
        return self._explained(Question(flow_id=FLOW, at=at))

    def of(self, execution_id: str) -> Told:
        """Return what is told about an execution."""
        return self._explained(Question(execution_id=execution_id))

    def _explained(self, question: Question) -> Told:
        self.question = question
        told = explain(self.entries, question, self.now, workers=self.workers)
        assert told is not None
        return told

    # --- the log ---

    def append(self, message: Message, *, id: str | None = None, source: str = "worker-1", **context: Any) -> None:
        number = len(self.entries) + 1
        if isinstance(message, BackupEvent):
            context["correlationid"] = message.execution_id
        sent = envelope(message, id=id or f"message-{number}", source=source, time=self.now, **context)
        self._take(stored(sent, number))

    def settle(self) -> None:
        """Have everything decided that is to be decided now."""
        for _ in range(1_000):
            if not any(self._decide(service) for service in ("registry", "scheduler", "executor")):
                return
        raise AssertionError("it never settles")

    def _decide(self, service: str) -> bool:
        if service in self.off:
            return False
        batches: Iterable[Sequence[Decision]]
        match service:
            case "registry":
                batches = registry.decide(self._registry)
            case "scheduler":
                decided = scheduler.decide(self._scheduler, self.now)
                batches = [[Decision(event=event, time=self.now) for event in events] for events in decided]
            case _:
                batches = executor.decide(self._executor)
        position = len(self.entries)
        for batch in batches:
            for one in batch:
                self._take(stored(_sent(one, service, position), len(self.entries) + 1))
        return len(self.entries) > position

    def _take(self, entry: Stored) -> None:
        self.entries.append(entry)
        if _reads(registry.READS, entry):
            registry.evolve(self._registry, entry)
        scheduler.evolve(self._scheduler, entry)
        scheduler.evolve_deadlines(self._scheduler, entry)
        if _reads(executing.READS, entry):
            executing.evolve(self._executor, entry)


def _reads(patterns: Iterable[str], entry: Stored) -> bool:
    return any(matches(pattern, entry.subject) for pattern in patterns)


def _sent(one: Decision, service: str, position: int) -> Any:
    return envelope(
        one.event,
        id=one.id,
        source=service,
        time=one.time,
        actor=one.actor,
        correlationid=one.belongs_to,
        causationid=one.cause,
        decidedon=position,
    )


def _vm(name: str) -> VmSpec:
    return VmSpec(vm_name=name, disks=[Disk(disk_id="d", path=f"/disks/{name}")])
