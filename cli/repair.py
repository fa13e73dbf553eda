"""`flows repair`: the safe remedies for what `flows doctor` finds. They are shown first, and done when that is wanted.

Nothing is closed or deleted by force: each remedy is one message on the log, with the name of who had it sent, and is
guarded, so that it is sent once, however many repair.
"""

from __future__ import annotations

from rich.console import Console

from bus.clock import now
from bus.envelope import Stored, envelope
from bus.errors import Conflict
from bus.log import Log
from bus.subjects import subject_of
from cli.actor import actor
from cli.attach import attached
from cli.doctor.checks import examine
from cli.doctor.findings import Issue, Remedy
from cli.terminal import print_line
from schemas.events import DeadSettled
from services import database

NO_REMEDY = "no safe remedy: it needs somebody who looks into it"


async def repair(nats_url: str, database_url: str, console: Console, *, sure: bool) -> bool:
    """Print what is wrong, and what can be done; do it when `sure`. Return whether all is well afterwards."""
    tables = database.reader(database_url)
    try:
        async with attached(nats_url, "flows-repair") as log:
            issues = [issue async for finding in examine(log, tables) for issue in finding.issues]
            if not issues:
                print_line(console, "There is nothing to repair.")
                return True
            for issue in issues:
                print_line(console, f"✗ {issue.text}")
                print_line(console, f"  {await _done(log, issue.remedy) if sure else _planned(issue.remedy)}")
            if sure:
                issues = [issue async for finding in examine(log, tables) for issue in finding.issues]
                print_line(console, _left(issues))
            elif any(issue.remedy is not None for issue in issues):
                print_line(console, "Nothing has been changed. To do what is shown as a remedy: flows repair --yes")
            return not issues
    finally:
        await tables.dispose()


def _planned(remedy: Remedy | None) -> str:
    return NO_REMEDY if remedy is None else f"remedy: {_plan(remedy)}"


async def _done(log: Log, remedy: Remedy | None) -> str:
    return NO_REMEDY if remedy is None else await _apply(log, remedy)


def _left(issues: list[Issue]) -> str:
    if not issues:
        return "Everything is repaired."
    return f"Problems that remain: {len(issues)}. The first: {issues[0].text}"


def _plan(remedy: Remedy) -> str:
    if isinstance(remedy, DeadSettled):
        return (
            f"note that nothing is to be done about message {remedy.sequence:,}; it stays on the log "
            f"(`flows log --json` has it)"
        )
    return f"have backup {remedy.backup_id} requested anew; execution {remedy.execution_id} goes on with it"


async def _apply(log: Log, remedy: Remedy) -> str:
    """Append a remedy, unless it is there already, and return the result."""
    subject = subject_of(remedy)
    kind = "settled" if isinstance(remedy, DeadSettled) else "abandoned"
    about = remedy.sequence if isinstance(remedy, DeadSettled) else remedy.request
    sent = envelope(remedy, id=f"{kind}:{about}", source="cli", time=now(), actor=actor())
    while True:
        guard = await log.last_sequence(subject)
        emitted = await log.read([subject], after=about, until=guard)
        if any(isinstance(entry, Stored) and entry.envelope.id == sent.id for entry in emitted):
            return "done already, by somebody else"
        try:
            return f"done: message {await log.append([sent], expect={subject: guard}):,}"
        except Conflict:
            continue  # something else came on this subject: was it the same?
