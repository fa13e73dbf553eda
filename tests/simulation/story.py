"""A run as lines for people: one for each message of the log and each fault, with its virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import structs

from bus.envelope import Entry, Stored
from schemas.definitions import Flow, Freeze, Schedule, Settings
from schemas.events import CatalogEvent
from tests.simulation.server import BEGINNING
from tests.simulation.world import World

SHORT = 8  # characters of an id
IDS = ("execution_id", "backup_id", "backfill_id", "retry_of")
LEFT_OUT = {
    *("flow_id", "v", "disks", "location", "config", "vm_name", "flow_name", "priority", "started_at", "engine"),
    *("backups", "excluded", "spec", "patch", "definition", "snapshot_ref", "bytes_read", "bytes_transferred"),
    *("backup_type", "completed_at", "requested_at", "error_message", "triggered_by", "schedule_id", "overlap_policy"),
}


def story(world: World) -> Iterator[str]:
    """Yield what happened, in order: messages with their sequence, faults and starts with a star."""
    notes = [(note.at, 0, f"*      {note.text}") for note in world.notes]
    messages = [((one.stored_at - BEGINNING).total_seconds(), one.sequence, _line(one)) for one in world.entries]
    before, times = "", 0
    for at, _, text in sorted([*notes, *messages]):
        if text == before:
            times += 1
            continue
        if times:
            yield f"              *      … the same {times} times more"
        before, times = text, 0
        yield f"{BEGINNING.hour:02}:{at // 60:02.0f}:{at % 60:06.3f}  {text}"
    if times:
        yield f"              *      … the same {times} times more"


def _line(entry: Entry) -> str:
    if not isinstance(entry, Stored):
        return f"{entry.sequence:<6} {entry.subject}  UNREADABLE"
    sent = entry.envelope
    fields = _definition(sent.data.definition) if isinstance(sent.data, CatalogEvent) else _fields(sent.data)  # type: ignore[attr-defined]
    decided = f" decided on {sent.decidedon}" if sent.decidedon else ""
    cause = f" because of {sent.causationid[:40]}" if sent.causationid else ""
    return f"{entry.sequence:<6} {entry.subject}  {fields}  [{sent.source}{decided}{cause}]"


def _fields(data: Any) -> str:
    shown = {name: value for name, value in structs.asdict(data).items() if name not in LEFT_OUT and value is not None}
    return " ".join(f"{name}={_value(name, value)}" for name, value in shown.items())


def _definition(definition: Any) -> str:
    if definition is None:
        return "DELETED"
    if isinstance(definition, Freeze | Settings):
        return _fields(definition)
    more = ""
    if isinstance(definition, Flow):
        more = f" {definition.overlap_policy} schedule={definition.schedule_id} armed={definition.armed_at:%H:%M:%S}"
    if isinstance(definition, Schedule):
        more = f" {definition.cron_expression} catch_up={definition.catch_up} armed={definition.armed_at:%H:%M:%S}"
    return f"version={definition.version} {'enabled' if definition.enabled else 'DISABLED'}{more}"


def _value(name: str, value: Any) -> str:
    if hasattr(value, "strftime"):
        return f"{value:%H:%M:%S}"
    return str(value)[:SHORT] if name in IDS else str(value)
