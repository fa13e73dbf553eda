"""Definitions: their tables, with the members of groups. Pure."""

from __future__ import annotations

from msgspec import structs, to_builtins
from sqlalchemy import Table

from bus.envelope import Stored
from schemas import tables as t
from schemas.definitions import Definition, Flow, Group, Kind, ScheduleSpec, VmSpec
from schemas.events import Defined, FreezeDefined, OfEngine, OfIdentity, OfKind, TokenDefined
from services.catalogue import defined_kind
from services.recorder.changes import Changes, Unprojectable, fitting
from services.recorder.commands import record_outcome
from services.recorder.known import KnownFlow, Row, identity_of

TABLE_OF: dict[Kind, Table] = {
    "vm": t.vms,
    "group": t.machine_groups,
    "schedule": t.schedules,
    "repository": t.repositories,
    "policy": t.policies,
    "flow": t.protection_flows,
    "notification": t.notifications,
}


def project_definition(changes: Changes, entry: Stored, event: Defined) -> None:
    identity = identity_of(entry.envelope, event)
    version = changes.known.identities.get(identity, 0)
    if version == event.version and changes.known.commands.get(entry.envelope.causationid or ""):
        record_outcome(changes, entry)  # of a command that had nothing to change
        return
    if version >= event.version:
        kind = str(event.__struct_config__.tag).removeprefix("catalog.")
        raise Unprojectable(
            "repeated", f"version {event.version} of {kind} {event.id} or a later one is on the log already"
        )
    if isinstance(event, OfEngine):
        table = t.freezes if isinstance(event, FreezeDefined) else t.settings
        row = None if event.definition is None else {"id": event.id, **structs.asdict(event.definition)}
        changes.definitions.append((table, event.id, row and fitting(table, row), []))
    elif isinstance(event, OfIdentity):
        _identity(changes, event)
    else:
        _definition(changes, event)
    record_outcome(changes, entry)
    changes.identify(identity, event.version)


def _identity(changes: Changes, event: OfIdentity) -> None:
    """Define a token or a worker: all that is to be seen of it. What its secrets are known by stays on the log."""
    kind, table = ("token", t.tokens) if isinstance(event, TokenDefined) else ("worker", t.workers)
    if event.definition is None:
        changes.definitions.append((table, event.id, None, []))
        return
    if event.definition.id != event.id:
        raise Unprojectable("unusable", f"the definition of {kind} {event.id} is one of {event.definition.id}")
    shown = {name: value for name, value in structs.asdict(event.definition).items() if name in table.c}
    changes.definitions.append((table, event.id, fitting(table, shown), []))


def _definition(changes: Changes, event: OfKind) -> None:
    kind, definition = defined_kind(event), event.definition
    table = TABLE_OF[kind]
    row = None if definition is None else fitting(table, _definition_row(definition))
    members = (
        [
            {"group_id": definition.id, "position": position, **structs.asdict(member)}
            for position, member in enumerate(definition.members)
        ]
        if isinstance(definition, Group)
        else []
    )
    if len({member["context_id"] for member in members}) < len(members):
        raise Unprojectable("unusable", f"group {event.id} names a VM twice")
    if row is not None and row["id"] != event.id:
        raise Unprojectable("unusable", f"the definition of {kind} {event.id} is one of {row['id']}")
    changes.definitions.append((table, event.id, row, members))
    if kind == "notification" and definition is None:
        gone = [id_ for id_, row in changes.new_deliveries.items() if row["notification_id"] == event.id]
        for id_ in gone:
            del changes.new_deliveries[id_]
    if kind != "flow":
        return
    if not isinstance(definition, Flow):
        _forget(changes, event.id)
    else:
        there = changes.known.flows.get(event.id)
        last = there.last_occurrence if there is not None else None
        changes.known.flows[event.id] = KnownFlow(armed_at=definition.armed_at, last_occurrence=last)
        changes.identify(f"flow/{event.id}")


def _definition_row(definition: Definition) -> Row:
    row = structs.asdict(definition)
    if isinstance(definition, VmSpec):
        row["name"] = row.pop("vm_name")
        row["disks"] = [structs.asdict(disk) for disk in definition.disks]
    if isinstance(definition, ScheduleSpec):
        row["exclusions"] = to_builtins(definition.exclusions)
        row["inclusions"] = to_builtins(definition.inclusions)
    row.pop("members", None)
    return row


def _forget(changes: Changes, flow_id: str) -> None:
    """Drop what is known of a flow that is deleted now, and the changes of this batch to its history."""
    known = changes.known
    known.flows.pop(flow_id, None)
    gone = {id_ for id_, execution in known.executions.items() if execution.flow_id == flow_id}
    for id_ in gone:
        del known.executions[id_]
        changes.new_executions.pop(id_, None)
        changes.execution_changes.pop(id_, None)
    known.jobs = {key: job for key, job in known.jobs.items() if key[0] not in gone}
    changes.new_jobs = {key: row for key, row in changes.new_jobs.items() if key[0] not in gone}
    changes.flow_ends = [end for end in changes.flow_ends if end["flow_id"] != flow_id]
    changes.flow_changes.pop(flow_id, None)
