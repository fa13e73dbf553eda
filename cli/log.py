"""`flows log`: the log for people, and as JSON lines for programs."""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.console import Console

from bus.connection import connect
from bus.envelope import Entry, Stored
from bus.log import Log
from bus.selection import Filter, Selection, full_pattern
from bus.subjects import matches
from schemas import events as e
from schemas.base import Message
from schemas.commands import Command
from schemas.definitions import Freeze, name_of
from schemas.ids import instant

PAGE = 1_000
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # what came from elsewhere must not move the cursor
_COLOURS = {"command": "36", "rejected": "33", "catalog": "34", "flow": "32", "backup": "35", "dead": "31"}
_BAD = ("rejected", "dead", "backup.failed", "backup.retrying", "flow.skipped", "flow.missed", "flow.overdue")


async def show(
    url: str, pattern: str, wanted: Filter, *, follow: bool, as_json: bool, local: bool, console: Console
) -> None:
    """Print the log's messages whose subjects match. With `follow` it goes on until interrupted."""
    client = await connect(url, "flows-log")
    try:
        log = Log(client)
        last = (await log.identity()).last_sequence
        write = _json_line(console) if as_json else _line(console, local=local)
        subject, selection = full_pattern(pattern), Selection(wanted)
        async for page in log.pages(after=0, until=last, size=PAGE):
            for entry in page:
                if selection.takes(entry) and matches(subject, entry.subject):
                    write(entry)
        console.file.flush()
        if not follow:
            return
        async for batch in log.follow([">"], after=last):
            for entry in batch.entries:
                if selection.takes(entry) and matches(subject, entry.subject):
                    write(entry)
            console.file.flush()
    finally:
        await client.close()


def _json_line(console: Console) -> Callable[[Entry], None]:
    def write(entry: Entry) -> None:
        console.file.write(entry.body.decode(errors="backslashreplace") + "\n")

    return write


def _line(console: Console, *, local: bool) -> Callable[[Entry], None]:
    """Return what prints a message in columns; in colour on a terminal, by hand, as there may be many thousands."""
    coloured = console.is_terminal and not console.no_color

    def write(entry: Entry) -> None:
        colour = _COLOURS.get(entry.subject.split(".", maxsplit=1)[0], "37")
        if entry.subject.startswith(_BAD):
            colour = "31"
        at = entry.envelope.time if isinstance(entry, Stored) else entry.stored_at
        key = entry.envelope.subject if isinstance(entry, Stored) else ""
        kind = entry.envelope.type if isinstance(entry, Stored) else entry.subject
        place = f"{entry.sequence:>7}  {at.astimezone() if local else at:%Y-%m-%d %H:%M:%S}"
        what = _UNPRINTABLE.sub("\ufffd", describe(entry))
        if coloured:
            console.file.write(f"\x1b[2m{place}\x1b[0m  \x1b[{colour}m{kind:<24}\x1b[0m  {key:<36}  {what}\n")
        else:
            console.file.write(f"{place}  {kind:<24}  {key:<36}  {what}\n")

    return write


def describe(entry: Entry) -> str:
    """Return what a message says, in a few words."""
    if not isinstance(entry, Stored):
        return f"unreadable: {entry.error}"
    return _describe(entry.envelope.data, entry.envelope.actor)


def _describe(message: Message, actor: str | None) -> str:
    match message:
        case Command():
            return f"by {actor}"
        case e.Rejected():
            return message.reason
        case e.FlowDue():
            return f"occurrence {instant(message.occurrence)}"
        case e.FlowMissed():
            return f"{message.count} occurrences, {instant(message.first)} to {instant(message.last)}"
        case e.FlowOverdue():
            what = {"start": "should have begun", "finish": "should have ended", "stop": "should have stopped"}
            vm = f" VM {message.context_id}" if message.context_id else ""
            return f"{what[message.deadline]} by {instant(message.passed_at)}: execution {message.execution_id}{vm}"
        case e.FlowStarted():
            return (
                f"{message.flow_name}: {message.execution_type}, {message.jobs} VMs, execution {message.execution_id}"
            )
        case e.FlowPlanned():
            return (
                f"part {message.part} of {message.parts}: {len(message.backups)} VMs, {len(message.excluded)} left out"
            )
        case e.FlowSkipped():
            return f"{message.reason}: {message.message}"
        case e.FlowCancelling():
            return f"{message.reason}: {message.context_id or 'all VMs'} of execution {message.execution_id}"
        case e.FlowCompleted():
            done = f"{message.jobs_completed} of {message.jobs_created} VMs, {message.bytes_transferred:,} bytes"
            return f"{message.status}: {done}" + (f"; {message.error_message}" if message.error_message else "")
        case e.BackupRequested():
            return f"{message.vm_name}: {len(message.disks)} disks to {message.location}"
        case e.BackupStarted():
            return f"{message.context_id}: attempt {message.attempt} on {message.worker}"
        case e.BackupProgressed():
            return f"{message.context_id}: {message.percent} %, {message.bytes_transferred:,} bytes"
        case e.BackupRetrying():
            failed = f"attempt {message.attempt} failed, next in {message.delay_seconds} s"
            return f"{message.context_id}: {failed}: {message.error}"
        case e.BackupCompleted():
            return f"{message.context_id}: {message.bytes_transferred:,} bytes at {message.snapshot_ref}"
        case e.BackupFailed():
            return f"{message.context_id}: {message.error}"
        case e.BackupSkipped() | e.BackupCancelled():
            return f"{message.context_id}: {message.reason}"
        case e.DeadSettled():
            return f"message {message.sequence} was {message.how} by {actor}"
        case e.DeadLettered():
            return f"message {message.sequence} on {message.subject}: {message.error}"
        case e.FreezeDefined():
            freeze = message.definition
            return f"until {instant(freeze.until)}: {freeze.reason}" if freeze else "lifted"
        case e.FlowBackfilling():
            return f"{len(message.occurrences)} occurrences, {message.max_concurrent} at a time"
        case e.FlowBackfillCancelled():
            return message.reason
        case defined if isinstance(defined, e.Defined):
            return (
                "deleted"
                if defined.definition is None or isinstance(defined.definition, Freeze)
                else f"{name_of(defined.definition)} (version {defined.version})"
            )
        case _:
            return ""
