"""The audit log: commands with who, when, what, outcome and reason, and the definition before and after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import func, literal, select

from api.commands import Recorded
from api.readmodel.reader import Page, Reader, consistent, shaped, size_of
from api.responses.log import AuditEntry, AuditList
from api.tail import CommandOutcome
from bus.subjects import IDENTITIES
from schemas import tables as t
from schemas.base import Value
from schemas.renamed import renamed_in


class AuditFilter(Value, frozen=True, kw_only=True):
    """Which commands, and from an instant on, up to one."""

    actor: str | None = None
    entity: str | None = None
    entity_id: str | None = None
    verb: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@consistent
async def find(reader: Reader, wanted: AuditFilter, page: Page, *, identities: bool) -> AuditList:
    """Return a page of commands, newest first. `identities`: with those about tokens and enrolled workers."""
    c = t.commands
    statement = select(c).order_by(c.c.sequence.desc())
    if not identities:
        statement = statement.where(c.c.entity.not_in(IDENTITIES))
    for name in ("actor", "entity", "entity_id", "verb", "outcome"):
        if (value := getattr(wanted, name)) is not None:
            statement = statement.where(c.c[name] == value)
    if wanted.since is not None:
        statement = statement.where(c.c.time >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(c.c.time < wanted.until)
    rows, total = await reader.page(statement, page)
    changes = await _changes(reader, [row["sequence"] for row in rows])
    sequences = [*(row["sequence"] for row in rows), *(one for pair in changes.values() for one in pair)]
    bodies = await _bodies(reader, sequences)
    entries: list[AuditEntry] = []
    for row in rows:
        before, after = (bodies.get(one, {}).get("definition") for one in changes.get(row["sequence"], (None, None)))
        request = bodies.get(row["sequence"])
        entries.append(shaped(AuditEntry, {**row, "request": request, "before": before, "after": after}))
    return AuditList(commands=entries, total=total)


@consistent
async def recorded(reader: Reader, command_id: str) -> Recorded:
    """Return what became of a command, and up to where the tables hold the log."""
    row = await reader.row(select(t.commands).where(t.commands.c.id == command_id))
    position = await reader.position()
    if row is None:
        return Recorded(position=position)
    outcome = None
    if row["outcome"] != "pending":
        outcome = CommandOutcome(
            sequence=row["outcome_sequence"],
            accepted=row["outcome"] == "accepted",
            code=row["code"],
            reason=row["reason"] or "",
            field=row["field"],
        )
    return Recorded(position=position, sequence=row["sequence"], outcome=outcome)


async def _changes(reader: Reader, commands: Sequence[int]) -> dict[int, tuple[int | None, int | None]]:
    """Return where on the log the definitions before and after accepted commands are, by the command's sequence."""
    c, e = t.commands, t.events
    subject = literal("catalog.") + c.c.entity + literal(".") + c.c.entity_id
    same = (e.c.subject == subject) & t.DEFINITIONS
    # a decision may have several events: this entity's own is the first at or after the outcome
    own = select(func.min(e.c.sequence)).where(same, e.c.sequence >= c.c.outcome_sequence).scalar_subquery()
    earlier = select(func.max(e.c.sequence)).where(same, e.c.sequence < c.c.outcome_sequence).scalar_subquery()
    accepted = select(c.c.sequence, earlier.label("before"), own.label("after")).where(
        c.c.sequence.in_(commands), c.c.outcome == "accepted", c.c.entity != "execution", c.c.verb != "execute"
    )
    return {row.sequence: (row.before, row.after) for row in await reader.rows(accepted)}


async def _bodies(reader: Reader, sequences: Iterable[int | None]) -> dict[int | None, dict[str, Any]]:
    """Return the data of messages, by sequence. Raises `TooMuch`."""
    e = t.events
    wanted = e.c.sequence.in_(sorted({one for one in sequences if one is not None}))
    await reader.check(select(func.sum(size_of(e.c.body))).where(wanted), "what these commands changed")
    rows = await reader.rows(select(e.c.sequence, e.c.body).where(wanted))
    return {row.sequence: _data(row.body) for row in rows}


def _data(body: str) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.json.decode(body)["data"]
    return renamed_in(data) if ".schedule" in data["type"] else data
