"""What is on the log after a load: each occurrence, execution and backup is there once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from bus.connection import connect
from bus.envelope import Stored
from bus.identities import OPERATOR
from bus.log import Log
from schemas.base import tag_of
from schemas.events import BackupCompleted, FlowDue, FlowStarted


async def once_each(nats_url: str, accepted: Sequence[str], minutely: Sequence[str]) -> Counter[str]:
    """Check on the log that no occurrence and no backup is missing, or there twice; count messages by type.

    `accepted`: executions that were answered with 202; `minutely`: flows with an occurrence each minute.
    """
    client = await connect(nats_url, OPERATOR)
    entries = await Log(client).read([">"])
    await client.close()
    messages = [entry.envelope.data for entry in entries if isinstance(entry, Stored)]
    assert len(messages) == len(entries)
    assert not [entry.subject for entry in entries if entry.subject.startswith("dead.")]
    started = Counter(message.execution_id for message in messages if isinstance(message, FlowStarted))
    assert set(accepted) <= set(started)
    assert set(started.values()) == {1}
    completed = Counter(message.backup_id for message in messages if isinstance(message, BackupCompleted))
    assert set(completed.values()) == {1}
    for flow_id in minutely:
        due = [one.occurrence for one in messages if isinstance(one, FlowDue) and one.flow_id == flow_id]
        assert due == [due[0] + timedelta(minutes=number) for number in range(len(due))] if due else True
    return Counter(tag_of(message) for message in messages)
