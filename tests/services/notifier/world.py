"""The notifier's domain on a log in memory."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bus.envelope import Stored
from schemas.base import Message
from schemas.events import NotificationDelivered, NotificationDue
from services.notifier.domain import State, decide, evolve
from tests.support import history, sent, stored


def after(*messages: Message) -> State:
    """Return what the notifier knows after these messages."""
    return folded(history(*messages))


def folded(entries: Iterable[Stored]) -> State:
    state = State()
    state.set_aside.fold(lambda entry: evolve(state, entry), entries)
    assert not state.set_aside.unpublished
    return state


def decided(state: State, at: datetime) -> list[Message]:
    return [decision.event for batch in decide(state, at) for decision in batch]


def appended(entries: list[Stored], state: State, at: datetime) -> list[Message]:
    """Put all that is due on the log, and fold it; return it."""
    messages = []
    for batch in decide(state, at):
        for decision in batch:
            entry = stored(sent(decision.event, id=decision.id, time=at), len(entries) + 1)
            entries.append(entry)
            evolve(state, entry)
            messages.append(decision.event)
    return messages


def delivered(due: NotificationDue) -> NotificationDelivered:
    return NotificationDelivered(
        notification_id=due.notification_id, delivery_id=due.delivery_id, attempts=1, reply="200 OK"
    )
