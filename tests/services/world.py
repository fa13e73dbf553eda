"""A log and an executor on it without a shell, and the words to tell histories in."""

from __future__ import annotations

from typing import Any

from bus.envelope import Stored
from schemas.base import Message
from schemas.events import BackupCancelled, BackupCompleted, BackupFailed, BackupStarted
from schemas.ids import backup_id, scheduled_execution_id
from services.decision import LIMIT, Decision
from services.executor.domain import decide
from services.executor.state import State, evolve
from tests.support import T0, flow, group, history, repository, sent, stored, vm

EXECUTION = scheduled_execution_id("flow-1", T0)


class World:
    """A log and an executor on it, without a shell: what is decided is appended and read back."""

    def __init__(self, *messages: Message) -> None:
        self.entries: list[Stored] = []
        self.state = State()
        self.append(*messages)

    def append(self, *messages: Message) -> None:
        for entry in history(*messages, start=len(self.entries) + 1):
            self.entries.append(entry)
            evolve(self.state, entry)

    def refold(self) -> None:
        """Crash, and start again from the log alone."""
        self.state = State()
        for entry in self.entries:
            evolve(self.state, entry)

    def decide(self) -> list[list[Decision]]:
        return decide(self.state)

    def settle(self) -> list[Any]:
        """Decide and append until nothing is left to decide; return all that was decided."""
        said: list[Any] = []
        while batches := self.decide():
            for batch in batches:
                assert 0 < len(batch) <= LIMIT
                said += [one.event for one in batch]
                for one in batch:
                    event = sent(one.event, id=one.id, time=one.time, causationid=one.cause)
                    entry = stored(event, len(self.entries) + 1)
                    self.entries.append(entry)
                    evolve(self.state, entry)
            assert len(said) < 100_000, "it never settles"
        return said


def house(*extra: Message, vms: int = 3, **flow_fields: Any) -> list[Message]:
    names = [f"vm-{number}" for number in range(vms)]
    return [*map(vm, names), group(members=names), repository(), flow(**flow_fields), *extra]


def done(
    context_id: str, execution_id: str = EXECUTION, flow_id: str = "flow-1", size: int = 10, attempt: int = 1
) -> BackupCompleted:
    return BackupCompleted(
        flow_id=flow_id,
        execution_id=execution_id,
        backup_id=backup_id(execution_id, context_id),
        context_id=context_id,
        attempt=attempt,
        bytes_read=2 * size,
        bytes_transferred=size,
        snapshot_ref="there",
    )


def failed(context_id: str, execution_id: str = EXECUTION, flow_id: str = "flow-1", attempt: int = 1) -> BackupFailed:
    return BackupFailed(
        flow_id=flow_id,
        execution_id=execution_id,
        backup_id=backup_id(execution_id, context_id),
        context_id=context_id,
        attempt=attempt,
        error=f"{context_id} is broken",
    )


def of(kind: type[Any], said: list[Any]) -> list[Any]:
    return [event for event in said if isinstance(event, kind)]


def cancelled(context_id: str, execution_id: str = EXECUTION) -> BackupCancelled:
    about = {"flow_id": "flow-1", "execution_id": execution_id, "context_id": context_id, "attempt": 1}
    return BackupCancelled(**about, backup_id=backup_id(execution_id, context_id), reason="cancelled by eve")


def begun(context_id: str, execution_id: str = EXECUTION, flow_id: str = "flow-1", attempt: int = 1) -> BackupStarted:
    return BackupStarted(
        flow_id=flow_id,
        execution_id=execution_id,
        backup_id=backup_id(execution_id, context_id),
        context_id=context_id,
        attempt=attempt,
        worker=f"worker-{attempt}",
    )
