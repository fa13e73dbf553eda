"""Words that the tests share: builders of definitions and messages, and waiting with a deadline."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bus.envelope import Envelope, Stored, encode, envelope
from bus.subjects import subject_of
from schemas.base import Message
from schemas.definitions import Disk, Flow, Group, Member, Policy, Repository, Schedule, Settings, Vm
from schemas.events import (
    FlowDefined,
    FlowDue,
    GroupDefined,
    PolicyDefined,
    RepositoryDefined,
    ScheduleDefined,
    SettingsDefined,
    VmDefined,
)
from schemas.ids import ENGINE

T0 = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
BORN: dict[str, Any] = {"version": 1, "created_at": T0, "updated_at": T0, "created_by": "admin"}


def vm(id: str = "vm-1", **given: Any) -> VmDefined:
    fields = {"vm_name": id.upper(), "disks": [Disk(disk_id="d0", path=f"/disks/{id}.raw")], **BORN, **given}
    return VmDefined(id=id, version=fields["version"], definition=Vm(id=id, **fields))


def group(id: str = "group-1", members: Sequence[str | Member] = (), **given: Any) -> GroupDefined:
    inside = [one if isinstance(one, Member) else Member(context_id=one) for one in members]
    fields = {"name": id, "members": inside, **BORN, **given}
    return GroupDefined(id=id, version=fields["version"], definition=Group(id=id, **fields))


def repository(id: str = "repo-1", **given: Any) -> RepositoryDefined:
    fields = {"name": id, "type": "simulated", "location": "/backups", **BORN, **given}
    return RepositoryDefined(id=id, version=fields["version"], definition=Repository(id=id, **fields))


def schedule(id: str = "schedule-1", **given: Any) -> ScheduleDefined:
    fields = {"name": id, "cron_expression": "0 * * * *", "armed_at": T0, **BORN, **given}
    return ScheduleDefined(id=id, version=fields["version"], definition=Schedule(id=id, **fields))


def policy(id: str = "policy-1", **given: Any) -> PolicyDefined:
    fields = {"name": id, **BORN, **given}
    return PolicyDefined(id=id, version=fields["version"], definition=Policy(id=id, **fields))


def flow(id: str = "flow-1", **given: Any) -> FlowDefined:
    fields = {
        "name": id,
        "flow_type": "backup",
        "target_type": "group",
        "target_id": "group-1",
        "repository_id": "repo-1",
        "armed_at": T0,
        **BORN,
        **given,
    }
    return FlowDefined(id=id, version=fields["version"], definition=Flow(id=id, **fields))


def engine_settings(**given: Any) -> SettingsDefined:
    fields = {"version": 1, "updated_at": T0, "updated_by": "admin", **given}
    return SettingsDefined(id=ENGINE, version=fields["version"], definition=Settings(**fields))


def due(flow_id: str = "flow-1", at: datetime = T0) -> FlowDue:
    return FlowDue(flow_id=flow_id, occurrence=at, schedule_id="schedule-1")


def sent(message: Message, *, id: str | None = None, time: datetime = T0, **context: Any) -> Envelope:
    return envelope(message, id=id or f"{subject_of(message)}@{time:%H%M%S}", source="test", time=time, **context)


def stored(event: Envelope, sequence: int) -> Stored:
    return Stored(
        sequence=sequence,
        subject=subject_of(event.data),
        stored_at=event.time,
        body=encode(event),
        envelope=event,
    )


def history(*messages: Message, start: int = 1) -> list[Stored]:
    """Return messages as the log holds them, a second apart."""
    return [
        stored(sent(message, id=f"m{number}", time=T0 + timedelta(seconds=number)), number)
        for number, message in enumerate(messages, start=start)
    ]


PATIENT = 2.0  # seconds: what has not happened by then is asked for less often, as asking is work for the machine


async def eventually(
    check: Callable[[], Any] | Callable[[], Awaitable[Any]], *, within: float = 15, why: str = ""
) -> Any:
    """Return the first true value of `check`, asked again until `within` seconds have passed."""
    began = time.monotonic()
    while True:
        value = check()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        waited = time.monotonic() - began
        if waited > within:
            raise AssertionError(f"not within {within} s: {why or check}; the last value was {value!r}")
        await asyncio.sleep(0.02 if waited < PATIENT else 0.2)


def wait_until(check: Callable[[], Any], *, within: float = 30, why: Callable[[], str] = lambda: "it is not so") -> Any:
    """Return the first true value of `check`, asked again until `within` seconds have passed; else say `why`."""
    began = time.monotonic()
    while not (value := check()):
        waited = time.monotonic() - began
        assert waited < within, f"not within {within} s: {why()}; the last value was {value!r}"
        time.sleep(0.05 if waited < PATIENT else 0.25)
    return value


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
