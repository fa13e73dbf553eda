"""The audit log: commands with who, when, what, outcome and reason, and the definition before and after."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import func, select

from api.commands import Recorded
from api.readmodel.reader import Page, Reader, consistent, shaped
from api.responses.log import AuditEntry, AuditList
from api.tail import CommandOutcome
from schemas import tables as t
from schemas.base import Value
from schemas.renamed import renamed_in


class AuditFilter(Value, frozen=True, kw_only=True):
    """Which commands."""

    actor: str | None = None
    entity: str | None = None
    entity_id: str | None = None
    verb: str | None = None
    outcome: str | None = None


@consistent
async def find(reader: Reader, wanted: AuditFilter, page: Page) -> AuditList:
    """Return a page of commands, newest first."""
    c = t.commands
    statement = select(c).order_by(c.c.sequence.desc())
    for name in AuditFilter.__struct_fields__:
        if (value := getattr(wanted, name)) is not None:
            statement = statement.where(c.c[name] == value)
    rows, total = await reader.page(statement, page)
    entries: list[AuditEntry] = []
    for row in rows:
        request = await _body(reader, row["sequence"])
        before, after = await _change(reader, row)
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


async def _change(reader: Reader, row: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the definition before and after an accepted command on definitions; both are on the log."""
    if row["outcome"] != "accepted" or row["entity"] == "execution" or row["verb"] == "execute":
        return None, None
    e = t.events
    subject = f"catalog.{row['entity']}.{row['entity_id']}"
    same = (e.c.key == row["entity_id"]) & (e.c.subject == subject)
    # a decision may have several events: this entity's own is the first at or after the outcome
    own = select(func.min(e.c.sequence)).where(same & (e.c.sequence >= row["outcome_sequence"]))
    earlier = select(func.max(e.c.sequence)).where(same & (e.c.sequence < row["outcome_sequence"]))
    after = (await reader.rows(own))[0][0]
    before = (await reader.rows(earlier))[0][0]
    return await _definition(reader, before), await _definition(reader, after)


async def _definition(reader: Reader, sequence: int | None) -> dict[str, Any] | None:
    body = await _body(reader, sequence)
    return None if body is None else body.get("definition")


async def _body(reader: Reader, sequence: int | None) -> dict[str, Any] | None:
    if sequence is None:
        return None
    row = await reader.row(select(t.events.c.body).where(t.events.c.sequence == sequence))
    if row is None:
        return None
    data: dict[str, Any] = msgspec.json.decode(row["body"])["data"]
    return renamed_in(data) if ".schedule" in data["type"] else data
