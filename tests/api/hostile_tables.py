"""Tables with as much in them as a hostile or very large installation has, written straight into a database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, create_engine, insert

from bus.envelope import encode
from schemas import tables as t
from schemas.base import Message
from schemas.definitions import Exclusion
from schemas.events import (
    BackupFailed,
    BackupRequested,
    BackupStarted,
    FlowDue,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
    PlannedBackup,
    PolicyDefined,
)
from schemas.ids import ENGINE
from services import database
from tests.support import BORN, T0, flow, policy, schedule, sent

FLOWS = 10_000  # on schedules that fire every minute
NEVER = 500  # flows, each on a schedule of its own that never fires
MEMBERS = 10_000
OLD_MEMBERS = 12_000  # of a group from before there was a limit
OCCURRENCES = 20_000  # of one flow, each due and skipped
JOBS = 12_000  # of one execution
EXECUTIONS = 600
MINUTE = timedelta(minutes=1)

EXECUTION = {"flow_name": "f-1", "flow_version": 1, "execution_type": "manual", "triggered_by": "eve"}
EXECUTION |= {"occurrence": None, "overlap_policy": "skip", "repository_id": "repo-0", "policy_id": None}
EXECUTION |= {"priority": 0, "parts": 2}
REQUEST = {"vm_name": "v", "disks": [], "repository_id": "repo-0", "engine": "simulated", "location": "/x"}
REQUEST |= {"config": {}, "backup_type": "full", "retry_attempts": 0, "retry_delay_seconds": 1}
REQUEST |= {"timeout_seconds": None, "requested_at": T0}
COMMON = {**BORN, "description": "", "enabled": True}


def to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def build(file: Path) -> str:
    """Make the database, and return its URL."""
    url = database.sqlite_url(file)
    database.upgrade(url)
    engine = create_engine(f"sqlite:///{file}", json_serializer=to_json)
    with engine.begin() as connection:
        for table, rows in (*_definitions(), *_history()):
            _insert(connection, table, rows)
    engine.dispose()
    return url


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    # one statement takes rows with the same columns
    for columns in {tuple(row): None for row in rows}:
        connection.execute(insert(table), [row for row in rows if tuple(row) == columns])


def _definitions() -> Iterator[tuple[Table, list[dict[str, Any]]]]:
    vm = {**COMMON, "power_state": "on", "os_type": "linux", "cpu_count": 1, "memory_mb": 1, "tags": [], "labels": {}}
    labels = {f"label-{number}": "x" * 64 for number in range(64)}
    disks = [{"disk_id": f"d{number}", "path": f"/{'x' * 4000}", "size_gb": None} for number in range(256)]
    vms = [{**vm, "id": f"vm-{number}", "name": f"vm-{number}", "disks": []} for number in range(OLD_MEMBERS)]
    vms += [{**vm, "id": f"large-{n}", "name": "large", "labels": labels, "disks": disks} for n in range(20)]
    yield t.vms, vms
    yield (
        t.repositories,
        [
            {**COMMON, "id": f"repo-{n}", "name": f"repo-{n}", "type": "simulated", "location": "/x", "config": config}
            | {"max_concurrent_jobs": 1}
            for n, config in enumerate([{}] + [{f"key-{k}": "x" * 1024 for k in range(64)}] * 150)
        ],
    )
    groups = {"big": MEMBERS, "old": OLD_MEMBERS}
    yield t.machine_groups, [{**COMMON, "id": id_, "name": id_} for id_ in groups]
    yield (
        t.machine_group_members,
        [
            {"group_id": id_, "context_id": f"vm-{n}", "position": n, "enabled": True, "priority": 0}
            for id_, number in groups.items()
            for n in range(number)
        ],
    )
    yield t.schedules, list(_schedules())
    yield (
        t.policies,
        [
            {**COMMON, "id": "policy", "name": "policy", "backup_type": "auto", "retry_attempts": 0}
            | {"retry_delay_seconds": 30}
        ],
    )
    row = {**COMMON, "flow_type": "backup", "repository_id": "repo-0", "overlap_policy": "skip", "priority": 0}
    row |= {"labels": {}, "armed_at": T0, "target_type": "group", "target_id": "big"}
    flows = [
        {**row, "id": f"f-{n}", "name": f"f-{n}", "schedule_id": f"minutes-{n % 50}"} for n in range(FLOWS - NEVER)
    ]
    newer = {**row, "created_at": T0 + MINUTE}
    flows += [{**newer, "id": f"n-{n}", "name": f"n-{n}", "schedule_id": f"never-{n}"} for n in range(NEVER)]
    flows[0]["target_id"] = "old"
    yield t.protection_flows, flows
    freeze = {"id": ENGINE, "since": T0, "until": T0 + 2000 * timedelta(days=1), "reason": "r", "created_by": "eve"}
    yield t.freezes, [freeze]
    yield t.projection, [{"stream": "FLOWS", "stream_created": "then", "position": 10_000_000}]


def _schedules() -> Iterator[dict[str, Any]]:
    row = {**COMMON, "cron_expression": "* * * * *", "more_expressions": [], "timezone": "Europe/Berlin"}
    row |= {"dst_gap": "shift", "dst_fold": "first", "exclusions": [], "inclusions": [], "jitter_seconds": 0}
    row |= {"catch_up": "last", "catch_up_window_seconds": 60, "armed_at": T0}
    for n in range(50):
        yield {**row, "id": f"minutes-{n}", "name": f"minutes-{n}", "jitter_seconds": 60 * n}
    ever = {"name": "for ever", "weekdays": [], "first_date": "2000-01-01", "last_date": None}
    ever |= {"from_time": None, "to_time": None}
    for n in range(NEVER):
        yield {**row, "id": f"never-{n}", "name": f"never-{n}", "exclusions": [{**ever, "name": f"x{n}"}]}
    yield {**row, "id": "leap", "name": "leap", "cron_expression": "0 0 29 2 *"}
    yield {**row, "id": "unreadable", "name": "unreadable", "cron_expression": "x", "timezone": "Mars/Olympus"}
    expressions = [f"*/{number} * * * *" for number in range(2, 22)]
    yield {**row, "id": "many", "name": "many", "more_expressions": expressions}
    exclusions = [{**ever, "name": f"{number}" * 80, "first_date": f"2{number:03}-01-01"} for number in range(100)]
    inclusions = [f"2{number:03}-01-01T00:00:00" for number in range(1, 200)] * 5
    for n in range(250):
        yield {**row, "id": f"large-{n}", "name": f"large-{n}", "exclusions": exclusions, "inclusions": inclusions}


def _history() -> Iterator[tuple[Table, list[dict[str, Any]]]]:
    execution = {"flow_id": "f-1", "flow_name": "f-1", "execution_type": "scheduled", "triggered_by": "scheduler"}
    execution |= {"created_at": T0, "repository_id": "repo-0", "priority": 0, "max_concurrent_jobs": 1}
    execution |= {"jobs_created": JOBS, "excluded": [], "error_message": None, "occurrence": None}
    excluded = [{"context_id": f"vm-{number}", "reason": "the VM is disabled in the group"} for number in range(JOBS)]
    ended = {**execution, "status": "error", "completed_at": T0 + MINUTE}
    running = {**execution, "status": "running", "completed_at": None}
    executions = [{**ended, "id": "huge", "started_at": T0, "excluded": excluded}]
    executions += [
        {**(ended if n % 2 else running), "id": f"e-{n}", "started_at": T0 + n * MINUTE, "excluded": excluded[:200]}
        for n in range(EXECUTIONS)
    ]
    executions += [
        {**ended, "id": f"o-{n}", "flow_id": "f-2", "occurrence": T0 + n * MINUTE, "started_at": T0 + n * MINUTE}
        for n in range(5_000)
    ]
    yield t.executions, executions
    job = {"vm_name": "v", "repository_id": "repo-0", "created_at": T0, "attempt": 1, "round": 1}
    jobs = [
        {**job, "id": f"huge-{n}", "execution_id": "huge", "position": n, "context_id": f"vm-{n}", "status": "error"}
        for n in range(JOBS)
    ]
    jobs += [
        {**job, "id": f"e-{n}-{k}", "execution_id": f"e-{n}", "position": k, "context_id": f"vm-{k}"}
        | {"status": "error" if n % 2 else "pending" if k else "running", "error_message": "x" * 500}
        for n in range(EXECUTIONS)
        for k in range(120)
    ]
    yield t.backup_jobs, jobs
    events, commands = list(_events()), list(_commands())
    yield t.events, events
    yield t.commands, commands


def _event(sequence: int, message: Message, **context: Any) -> dict[str, Any]:
    body = sent(message, time=T0 + timedelta(seconds=sequence), **context)
    return {
        "sequence": sequence,
        "subject": f"{body.type}.{body.subject}",
        "type": body.type,
        "time": body.time,
        "key": body.subject,
        "correlation": body.correlationid,
        "body": encode(body).decode(),
    }


def _events() -> Iterator[dict[str, Any]]:
    about = {"flow_id": "f-2", "execution_id": "x", "execution_type": "scheduled", "reason": "overlap", "message": "m"}
    for n in range(OCCURRENCES):
        at = T0 + n * MINUTE
        yield _event(2 * n + 1, FlowDue(flow_id="f-2", occurrence=at, schedule_id="many"), correlationid="huge")
        yield _event(2 * n + 2, FlowSkipped(occurrence=at, **about))
    for n in range(500):
        yield _event(100_000 + n, policy("policy", version=n + 1, description="x" * 4000))
    yield from _of_an_execution()
    large = "x" * 40_000
    for n in range(500):
        yield _event(200_000 + n, PolicyDefined(id=f"p-{n}", version=1, definition=None)) | {"body": _padded(n, large)}


def _of_an_execution() -> Iterator[dict[str, Any]]:
    """Yield many versions of what it is about, and the messages of an execution with very many VMs."""
    exclusions = [Exclusion(name=f"x{n}", first_date=date(2000 + n, 1, 1)) for n in range(100)]
    for n in range(300):
        at = 300_000 + 10 * n
        yield _event(at, flow("f-1", schedule_id="minutes-1", version=n + 1, description="x" * 4000))
        yield _event(at + 1, flow("f-2", schedule_id=f"minutes-{n % 50}", version=n + 1))
        yield _event(at + 2, flow("n-1", schedule_id="never-1", version=n + 1, priority=n))
        yield _event(at + 3, schedule(f"minutes-{n % 50}", cron_expression="* * * * *", version=n + 1))
        yield _event(at + 4, schedule("never-1", exclusions=exclusions, version=n + 1))
    about = {"flow_id": "f-1", "execution_id": "huge"}
    vms = [{"context_id": f"vm-{n}", "backup_id": f"huge-{n}"} for n in range(JOBS // 3)]
    started = {**EXECUTION, **about, "jobs": len(vms), "max_concurrent_jobs": 1}
    yield _event(310_000, FlowStarted(**started), correlationid="huge")
    planned = [PlannedBackup(**one, vm_name="v") for one in vms]
    for part in (1, 2):
        halves = planned[: len(vms) // 2] if part == 1 else planned[len(vms) // 2 :]
        event = FlowPlanned(**about, part=part, parts=2, backups=halves, excluded=[])
        yield _event(310_000 + part, event, correlationid="huge")
    for n, one in enumerate(vms):
        request = BackupRequested(**about, **one, **REQUEST)
        yield _event(320_000 + 3 * n, request, correlationid="huge")
        begun = BackupStarted(**about, **one, attempt=1, worker="w")
        yield _event(320_001 + 3 * n, begun, correlationid="huge")
        failed = BackupFailed(**about, **one, attempt=1, error=f"error {n}")
        yield _event(320_002 + 3 * n, failed, correlationid="huge")


def _padded(number: int, text: str) -> str:
    return to_json({"data": {"type": "catalog.policy", "id": f"p-{number}", "definition": {"description": text}}})


def _commands() -> Iterator[dict[str, Any]]:
    command = {"entity": "policy", "verb": "update", "time": T0, "outcome": "accepted"}
    for n in range(500):
        small, large = 100_000 + n, 200_000 + n
        yield {**command, "id": f"c-{n}", "entity_id": "policy"} | _at(small) | {"actor": "eve"}
        yield {**command, "id": f"p-{n}", "entity_id": f"p-{n}"} | _at(large) | {"actor": "mallory"}


def _at(sequence: int) -> dict[str, int]:
    return {"sequence": sequence, "outcome_sequence": sequence}
