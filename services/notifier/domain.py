"""The notifier's domain: which messages are due by the log, and what became of them. Pure.

`evolve` folds; `decide` returns the messages that are to be on the log and are not, and those that are given up. What a
message says stands in `notification.due`, so that whoever delivers it needs nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, field

from bus.envelope import Entry, Stored
from schemas.base import after
from schemas.events import (
    BackupFailed,
    BackupOrphaned,
    CatalogEvent,
    FlowCompleted,
    FlowMissed,
    FlowOverdue,
    FlowSkipped,
    FlowStarted,
    NotificationClaimed,
    NotificationDefined,
    NotificationDelivered,
    NotificationDropped,
    NotificationDue,
    NotificationEvent,
    NotificationFailed,
)
from schemas.ids import derived, instant
from schemas.notifications import FailedVm, Notification, Notified
from services.catalogue import Catalogue
from services.decision import LIMIT, Batch, Decision
from services.notifier import digest, matching, messages
from services.notifier.matching import Source, Turn
from services.processed import ProcessedIds
from services.unusable import SetAside

DEFINITIONS = ("catalog.notification.*", "catalog.flow.*", "catalog.group.*", "catalog.vm.*")
COMPLETIONS = "flow.completed.*"
CLAIMS = "notification.claimed.*"
MESSAGES = "notification.*.*"
READS = (
    *DEFINITIONS,
    *("flow.started.*", COMPLETIONS, "flow.skipped.*", "flow.missed.*", "flow.overdue.*"),
    *("backup.failed.>", "backup.orphaned.>", MESSAGES),
)
PATIENCE = timedelta(days=3)  # for which a message is tried
MOST_WAITING = 1_000  # messages to one receiver: with more, the oldest is given up


class Failures(Struct, kw_only=True):
    """The VMs that failed so far in an execution that goes on. `started`: the sequence of its start."""

    started: int
    vms: list[FailedVm] = field(default_factory=list[FailedVm])


class Collected(Struct, frozen=True, kw_only=True):
    """An event that a notification is about, and that no message tells of yet."""

    delivery_id: str
    event: Notified


class Waiting(Struct, kw_only=True):
    """A message on the log that has not been delivered. `attempts`: as the log has them."""

    due: NotificationDue
    sequence: int
    time: datetime
    attempts: int = 0
    next_try: datetime | None = None


class Receiver(Struct, kw_only=True):
    """One notification: what is collected for it, what waits, and who delivers that."""

    definition: Notification
    collected: list[Collected] = field(default_factory=list[Collected])
    waiting: dict[str, Waiting] = field(default_factory=dict[str, Waiting])
    more: int = 0  # events beyond those that are collected: they are counted alone
    through: int = 0  # the last event
    holder: str | None = None
    claims: int = 0

    def collect(self, one: Collected) -> None:
        """Take in an event that is to be told."""
        self.through = one.event.sequence
        if self.is_digest and len(self.collected) >= messages.LINES:
            self.more += 1
        else:
            self.collected.append(one)

    def tell(self, through: int) -> None:
        """Let go of what a message tells of."""
        self.collected = [one for one in self.collected if one.event.sequence > through]
        if self.through <= through:
            self.more = 0

    @property
    def is_digest(self) -> bool:
        return self.definition.digest_minutes is not None or self.definition.digest_at is not None

    @property
    def head(self) -> Waiting | None:
        """The message to be delivered next."""
        return next(iter(self.waiting.values()), None)


class State:
    """What the notifier knows from the log. A fold's state: `evolve` changes it in place."""

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.receivers: dict[str, Receiver] = {}
        self.claims: dict[str, NotificationClaimed] = {}  # the last one of each notification
        self.failing: set[str] = set()  # flows whose last execution that counts failed
        self.failures: dict[str, Failures] = {}  # by execution
        self.processed = ProcessedIds()  # the messages that have been due
        self.set_aside = SetAside()

    @property
    def oldest(self) -> int | None:
        """The sequence of the oldest message of the log that something still depends on; None when nothing does."""
        return min(self._sequences(), default=None)

    def _sequences(self) -> Iterator[int]:
        yield from (failures.started for failures in self.failures.values())
        for receiver in self.receivers.values():
            yield from (one.event.sequence for one in receiver.collected[:1])
            if (head := receiver.head) is not None:
                yield head.sequence

    def head(self, notification_id: str) -> Waiting | None:
        """Return the message that a receiver is to get next, None when none waits."""
        receiver = self.receivers.get(notification_id)
        return None if receiver is None or not receiver.definition.enabled else receiver.head


def evolve(state: State, entry: Entry) -> None:
    """Take in one message of the log."""
    if not isinstance(entry, Stored):
        return
    match entry.envelope.data:
        case CatalogEvent() as event:
            state.catalogue.evolve(event)
            if isinstance(event, NotificationDefined):
                _define(state, event)
        case NotificationEvent() as event:
            _follow(state, entry, event)
        case BackupFailed() as event:
            _fail(state, event)
            _collect(state, entry, event, None)
        case FlowCompleted() as event:
            _collect(state, entry, event, turn_of(state, event))
            state.failures.pop(event.execution_id, None)
        case FlowStarted() as event:
            state.failures[event.execution_id] = Failures(started=entry.sequence)
            _collect(state, entry, event, None)
        case FlowSkipped() | FlowMissed() | FlowOverdue() | BackupOrphaned() as event:
            _collect(state, entry, event, None)
        case _:
            pass


def turn_of(state: State, event: FlowCompleted) -> Turn:
    """Take in how an execution ended, and return what that means after those before."""
    turn = Turn(failed=matching.failed(event), before=event.flow_id in state.failing)
    if turn.failed:
        state.failing.add(event.flow_id)
    elif turn.failed is False:
        state.failing.discard(event.flow_id)
    return turn


def _define(state: State, event: NotificationDefined) -> None:
    definition = event.definition
    if definition is None:
        state.receivers.pop(event.id, None)
        state.claims.pop(event.id, None)
        return
    receiver = state.receivers.get(event.id)
    if receiver is None:
        receiver = state.receivers[event.id] = Receiver(definition=definition)
        if (claim := state.claims.get(event.id)) is not None:  # a start from a checkpoint reads claims first
            receiver.holder, receiver.claims = claim.holder, claim.number
    receiver.definition = definition
    if not definition.enabled:
        receiver.tell(receiver.through)


def _follow(state: State, entry: Stored, event: NotificationEvent) -> None:
    """Take in what became of messages."""
    if isinstance(event, NotificationDue):
        state.processed.add(event.delivery_id, entry.sequence)
    if isinstance(event, NotificationClaimed):
        state.claims[event.notification_id] = event
    receiver = state.receivers.get(event.notification_id)
    if receiver is None:
        return
    match event:
        case NotificationClaimed():
            receiver.holder, receiver.claims = event.holder, event.number
        case NotificationDue():
            receiver.tell(event.through)
            receiver.waiting[event.delivery_id] = Waiting(due=event, sequence=entry.sequence, time=entry.envelope.time)
        case NotificationFailed():
            if (waiting := receiver.waiting.get(event.delivery_id)) is not None:
                waiting.attempts, waiting.next_try = event.attempt, event.next_try
        case NotificationDelivered() | NotificationDropped():
            receiver.waiting.pop(event.delivery_id, None)
        case _:
            pass


def _fail(state: State, event: BackupFailed) -> None:
    """Remember a VM that failed, until the end of its execution tells of it."""
    failures = state.failures.get(event.execution_id)
    if failures is None:
        return  # it has ended already
    known = any(vm.context_id == event.context_id for vm in failures.vms)
    if len(failures.vms) < messages.LISTED and not known:
        error = messages.shortened(event.error)
        vm = FailedVm(context_id=event.context_id, vm_name=_vm_name(state, event.context_id), error=error)
        failures.vms.append(vm)


def _collect(state: State, entry: Stored, event: Source, turn: Turn | None) -> None:
    """Collect an event for those who want to be told of it, each once, however often it is on the log."""
    if not state.receivers:
        return
    notified = _notified(state, entry, event, turn)
    for receiver in state.receivers.values():
        definition = receiver.definition
        if matching.wants(definition, notified, turn, state.catalogue):
            delivery_id = derived("delivery", definition.id, entry.envelope.id)
            twice = any(one.delivery_id == delivery_id for one in receiver.collected)
            if not twice and delivery_id not in state.processed:
                receiver.collect(Collected(delivery_id=delivery_id, event=notified))


def _notified(state: State, entry: Stored, event: Source, turn: Turn | None) -> Notified:
    """Return an event as a message tells it, but for what depends on the reader's zone."""
    name = matching.flow_name(event, state.catalogue)
    ended = event if isinstance(event, FlowCompleted) else None
    failures = state.failures.get(ended.execution_id) if ended is not None else None
    recovered = turn is not None and turn.recovered
    failed = failures.vms if failures is not None else []
    return Notified(
        type=entry.envelope.type,  # type: ignore[arg-type]  # a source's type is one of these
        sequence=entry.sequence,
        time=entry.envelope.time,
        severity=matching.severity_of(event),
        text=_text(state, event, name, failed, recovered=recovered),
        flow_id=event.flow_id,
        flow_name=name,
        execution_id=matching.execution_of(event),
        status=ended.status if ended is not None else event.reason if isinstance(event, FlowSkipped) else None,
        recovered=recovered,
        jobs=ended.jobs_created if ended is not None else event.jobs if isinstance(event, FlowStarted) else None,
        jobs_completed=ended.jobs_completed if ended is not None else None,
        jobs_failed=ended.jobs_failed if ended is not None else None,
        jobs_skipped=ended.jobs_skipped if ended is not None else None,
        failed=list(failed),
    )


def _text(state: State, event: Source, name: str, failed: Sequence[FailedVm], *, recovered: bool) -> str:
    who = messages.flow_called(event.flow_id, name)
    match event:
        case FlowStarted():
            return messages.of_start(who, event.jobs)
        case FlowCompleted():
            return messages.of_completion(who, event, failed, recovered=recovered)
        case FlowSkipped():
            return messages.of_skip(who, event)
        case FlowMissed():
            return messages.of_misses(who, event, "UTC")
        case FlowOverdue():
            vm_name = None if event.context_id is None else _vm_name(state, event.context_id)
            return messages.of_deadline(who, event, vm_name)
        case BackupFailed():
            return messages.of_failed_backup(who, _vm_name(state, event.context_id), event.error)
        case BackupOrphaned():
            return messages.of_orphan(who, _vm_name(state, event.context_id), event.error)


def _vm_name(state: State, context_id: str) -> str:
    vm = state.catalogue.vms.get(context_id)
    return context_id if vm is None else vm.vm_name


# --- decisions --------------------------------------------------------------------------------------------------------


def decide(state: State, at: datetime) -> list[Batch]:
    """Return the messages that are due at `at`, and those that are given up, in order for each receiver."""

    def of_one(receiver: Receiver) -> list[Batch]:
        given_up = [*_given_up(receiver, at)]
        due = [*_due(state, receiver, at)]
        both = [*given_up, *due]
        return [both[start : start + LIMIT] for start in range(0, len(both), LIMIT)]

    decided = state.set_aside.decide(
        state.receivers.values(), of_one, sequence=lambda one: one.collected[0].event.sequence if one.collected else 0
    )
    return [batch for batches in decided for batch in batches]


def _given_up(receiver: Receiver, at: datetime) -> Iterator[Decision]:
    """Yield the messages that will not be delivered: too old, too many, or nobody wants them any more."""
    beyond = len(receiver.waiting) + len(receiver.collected) - MOST_WAITING
    for number, waiting in enumerate(receiver.waiting.values()):
        if not receiver.definition.enabled:
            reason = "the notification was disabled before it could be delivered"
        elif waiting.time <= at - PATIENCE:
            reason = f"it could not be delivered for {PATIENCE.days} days"
        elif number < beyond and not receiver.is_digest:
            reason = f"more than {MOST_WAITING:,} messages waited for this receiver"
        else:
            continue
        due = waiting.due
        dropped = NotificationDropped(notification_id=due.notification_id, delivery_id=due.delivery_id, reason=reason)
        yield Decision(event=dropped, time=at)


def _due(state: State, receiver: Receiver, at: datetime) -> Iterator[Decision]:
    """Yield the messages that are due and not on the log yet."""
    definition, collected = receiver.definition, receiver.collected
    if not definition.enabled:
        return
    if not receiver.is_digest:
        for one in collected:
            title, body = messages.of_one(one.event, definition.timezone)
            due = NotificationDue(
                notification_id=definition.id,
                delivery_id=one.delivery_id,
                through=one.event.sequence,
                total=1,
                severity=one.event.severity,
                title=title,
                body=body,
                events=[one.event],
            )
            yield Decision(event=due, time=at, correlation=one.event.execution_id)
        return
    ended = _ended(state, receiver, at)
    if ended is not None:
        delivery_id, end = ended
        yield Decision(event=_digest(receiver, delivery_id, end), time=at)


def _ended(state: State, receiver: Receiver, at: datetime) -> tuple[str, datetime] | None:
    """Return the digest that has ended and is not on the log: its id, and when it ended."""
    definition, collected = receiver.definition, receiver.collected
    if definition.digest_minutes is not None:
        if not collected:
            return None
        end = digest.ends_at(definition, collected[0].event.time)
        assert end is not None
        return (derived("delivery", definition.id, collected[0].delivery_id), end) if end <= at else None
    end = digest.last_end(definition, at)
    assert end is not None
    begun = collected[0].event.time if collected else definition.updated_at if definition.digest_empty else None
    if begun is None or end <= begun:
        return None
    delivery_id = derived("delivery", definition.id, instant(end))
    return None if delivery_id in state.processed else (delivery_id, end)


def _digest(receiver: Receiver, delivery_id: str, end: datetime) -> NotificationDue:
    definition, told = receiver.definition, [one.event for one in receiver.collected]
    total = len(told) + receiver.more
    title, body = messages.of_digest(definition.name, told, total, definition.timezone)
    return NotificationDue(
        notification_id=definition.id,
        delivery_id=delivery_id,
        through=receiver.through if told else 0,
        total=total,
        severity=messages.worst(told),
        title=title,
        body=body,
        events=told,
        digest=end,
    )


def wake_at(state: State, at: datetime) -> datetime | None:
    """Return when something becomes due although nothing happens."""
    return min(_times(state, at), default=None)


def _times(state: State, at: datetime) -> Iterator[datetime]:
    for receiver in state.receivers.values():
        definition = receiver.definition
        if not definition.enabled:
            continue
        if (head := receiver.head) is not None:
            yield after(head.time, PATIENCE)
        if definition.digest_minutes is not None and receiver.collected:
            yield after(receiver.collected[0].event.time, timedelta(minutes=definition.digest_minutes))
        if definition.digest_at is not None and (receiver.collected or definition.digest_empty):
            end = digest.next_end(definition, at)
            assert end is not None
            yield end
