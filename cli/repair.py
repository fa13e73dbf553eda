"""`flows repair`: the safe remedies for what `flows doctor` finds. They are shown first, and done when that is wanted.

Nothing is closed or deleted by force: each remedy is one message on the log, with the name of who had it sent, and is
guarded, so that it is sent once, whoever else repairs.
"""

from __future__ import annotations

import getpass

from rich.console import Console

from bus.clock import now
from bus.connection import connect
from bus.envelope import Stored, envelope
from bus.errors import Conflict
from bus.log import Log
from bus.subjects import subject_of
from cli.doctor.checks import examine
from cli.doctor.findings import Fault, Remedy
from schemas.events import DeadSettled
from services import database


async def repair(nats_url: str, database_url: str, console: Console, *, sure: bool) -> bool:
    """Print what is wrong, and what can be done; do it when `sure`. Return whether all is well afterwards."""
    client = await connect(nats_url, "flows-repair")
    tables = database.reader(database_url)
    log = Log(client)
    try:
        faults = [fault async for finding in examine(log, tables) for fault in finding.faults]
        if not faults:
            _print(console, "There is nothing to repair.")
            return True
        for fault in faults:
            _print(console, f"\u2717 {fault.text}")
            if fault.remedy is None:
                _print(console, "  no safe remedy: it needs somebody who looks into it")
            elif sure:
                _print(console, f"  {await _apply(log, fault.remedy)}")
            else:
                _print(console, f"  remedy: {_plan(fault.remedy)}")
        if not sure and any(fault.remedy is not None for fault in faults):
            _print(console, "Nothing has been changed. To do what is shown as a remedy: flows repair --yes")
        if sure:
            faults = [fault async for finding in examine(log, tables) for fault in finding.faults]
            _print(console, _left(faults))
        return not faults
    finally:
        await tables.dispose()
        await client.close()


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _left(faults: list[Fault]) -> str:
    if not faults:
        return "Everything is repaired."
    return f"Problems that remain: {len(faults)}. The first: {faults[0].text}"


def _plan(remedy: Remedy) -> str:
    if isinstance(remedy, DeadSettled):
        return (
            f"note that nothing is to be done about message {remedy.sequence:,}; it stays on the log "
            f"(`flows log --json` has it)"
        )
    return f"have backup {remedy.backup_id} requested anew; execution {remedy.execution_id} goes on with it"


async def _apply(log: Log, remedy: Remedy) -> str:
    """Append a remedy, unless somebody has, and return what came of it."""
    subject = subject_of(remedy)
    kind = "settled" if isinstance(remedy, DeadSettled) else "abandoned"
    about = remedy.sequence if isinstance(remedy, DeadSettled) else remedy.request
    sent = envelope(remedy, id=f"{kind}:{about}", source="cli", time=now(), actor=getpass.getuser())
    while True:
        guard = await log.last_sequence(subject)
        emitted = await log.read([subject], after=about, until=guard)
        if any(isinstance(entry, Stored) and entry.envelope.id == sent.id for entry in emitted):
            return "done already, by somebody else"
        try:
            return f"done: message {await log.append([sent], expect={subject: guard}):,}"
        except Conflict:
            continue  # something else came on this subject: was it the same?
