"""What people read: the sentence for each event, and the title and body of a message. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from schemas.base import brief
from schemas.events import FlowCompleted, FlowMissed, FlowOverdue, FlowSkipped
from schemas.ids import AD_HOC
from schemas.notifications import SEVERITIES, FailedVm, Notified, Severity

NAMED = 3  # VMs in a sentence
LISTED = 20  # VMs below a message
LINES = 50  # events in a digest
_LONGEST_ERROR = 300  # characters


def counted(number: int, word: str) -> str:
    """Return a number of things: `1 VM`, `3 VMs`."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def shortened(text: str, longest: int = _LONGEST_ERROR) -> str:
    """Return the first line of an error, without its end when it is long."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def flow_called(flow_id: str, flow_name: str) -> str:
    """Return what people call a flow at the beginning of a sentence."""
    return "A backup outside any flow" if flow_id == AD_HOC else f"Flow {flow_name!r}"


def of_start(who: str, jobs: int) -> str:
    """Return that an execution began."""
    return f"{who} started: {counted(jobs, 'VM')}"


def of_completion(who: str, event: FlowCompleted, failed: Sequence[FailedVm], *, recovered: bool) -> str:
    """Return how an execution ended: `Flow 'nightly' failed: 3 of 40 VMs (db1: the disk is gone; …)`."""
    total = counted(event.jobs_created, "VM")
    why = shortened(event.error_message or "")
    if event.status == "cancelled":
        return f"{who} was cancelled: {event.jobs_completed:,} of {total} backed up"
    if event.jobs_failed:
        return f"{who} failed: {event.jobs_failed:,} of {total}" + _named(failed, event.jobs_failed)
    if event.status == "error":
        return f"{who} failed" + (f": {why}" if why else "")
    if event.jobs_skipped:
        return f"{who} left out {event.jobs_skipped:,} of {total}"
    if event.status == "warning":
        return f"{who} ended with a warning" + (f": {why}" if why else "")
    if recovered:
        return f"{who} has recovered: {total} backed up"
    return f"{who} succeeded: {total} backed up"


def _named(failed: Sequence[FailedVm], total: int) -> str:
    if not failed:
        return ""
    some = [f"{vm.vm_name}: {shortened(vm.error, 100)}" for vm in failed[:NAMED]]
    if total > len(some):
        some.append("…")
    return f" ({'; '.join(some)})"


def of_skip(who: str, event: FlowSkipped) -> str:
    """Return that a trigger became no execution."""
    return f"{who} did not run: {shortened(event.message) or event.reason}"


def of_misses(who: str, event: FlowMissed, zone: str) -> str:
    """Return that occurrences passed."""
    if event.count == 1:
        return f"{who} missed 1 run, at {_at(event.first, zone)}"
    return f"{who} missed {event.count:,} runs, from {_at(event.first, zone)} to {_at(event.last, zone)}"


def of_deadline(who: str, event: FlowOverdue, vm_name: str | None) -> str:
    """Return which deadline has passed."""
    match event.deadline:
        case "start":
            return f"{who} has not begun all of its backups in time"
        case "finish":
            return f"{who} runs longer than its policy allows, and is stopped"
        case "stop":
            what = f"{who} was to stop" if vm_name is None else f"{who} was to stop backing up VM {vm_name!r}"
            return f"{what}, and its worker does not respond"


def of_failed_backup(who: str, vm_name: str, error: str) -> str:
    """Return that the backup of one VM failed for good."""
    return f"{who} could not back up VM {vm_name!r}: {shortened(error)}"


def of_orphan(who: str, vm_name: str, error: str) -> str:
    """Return that something useless stays in a repository."""
    return f"{who} could not clean up after a backup of VM {vm_name!r}: {shortened(error)}"


def of_test(name: str) -> tuple[str, str]:
    """Return title and body of a message that somebody asked for, to see whether it arrives."""
    title = f"Test of notification {name!r}"
    return title, f"{title}: this receiver gets its messages. Nothing has happened to any flow."


def of_one(event: Notified, zone: str) -> tuple[str, str]:
    """Return title and body of a message on one event."""
    lines = [event.text, "", f"At: {_at(event.time, zone)}"]
    if event.execution_id is not None:
        lines.append(f"Execution: {event.execution_id}")
    if event.type == "flow.completed":
        parts = [f"{event.jobs_completed or 0:,} backed up", f"{event.jobs_failed or 0:,} failed"]
        lines.append(f"VMs: {', '.join([*parts, f'{event.jobs_skipped or 0:,} skipped'])}")
        lines += [f"- {vm.vm_name}: {shortened(vm.error)}" for vm in event.failed]
        more = (event.jobs_failed or 0) - len(event.failed)
        if event.failed and more > 0:
            lines.append(f"- and {counted(more, 'more VM')}")
    return brief(event.text), brief("\n".join(lines))


def of_digest(name: str, events: Sequence[Notified], total: int, zone: str) -> tuple[str, str]:
    """Return title and body of a message on all that was collected: `total` events, of which `events` are the first."""
    if not total:
        return f"{name}: nothing happened", f"{name}: nothing happened."
    title = f"{name}: {counted(total, 'event')}"
    errors = sum(event.severity == "error" for event in events)
    if errors:
        title += f", {counted(errors, 'error')}" if total == len(events) else ", errors among them"
    lines = [f"{title}.", "", *(f"- {_at(event.time, zone)}  {event.text}" for event in events)]
    if total > len(events):
        lines.append(f"- and {counted(total - len(events), 'more event')}")
    return title, brief("\n".join(lines))


def worst(events: Sequence[Notified]) -> Severity:
    """Return the highest severity of some events; `info` when there are none."""
    return SEVERITIES[max((SEVERITIES.index(event.severity) for event in events), default=0)]


def zone_called(name: str) -> tzinfo:
    """Return the time zone of that name; UTC for one that this machine does not have."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC


def _at(at: datetime, zone: str) -> str:
    """Return an instant as people of a zone read it: `2026-10-09 04:00 Europe/Berlin`."""
    local = at.astimezone(zone_called(zone))
    return f"{local:%Y-%m-%d %H:%M} {zone}"
