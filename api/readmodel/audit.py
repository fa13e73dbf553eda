"""The audit log: commands with who, when, what, outcome and reason, and the definition before and after."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import func, select

from api.answers import AuditEntry, AuditList
from api.commands import Recorded
from api.readmodel.reading import Page, Reading, consistent, shaped
from api.tail import Outcome
from schemas import tables as t
from schemas.base import Value


class AuditFilter(Value, frozen=True, kw_only=True):
    """Which commands."""

    actor: str | None = None
    entity: str | None = None
    entity_id: str | None = None
    verb: str | None = None
    outcome: str | None = None


@consistent
async def find(reading: Reading, wanted: AuditFilter, page: Page) -> AuditList:
    """Return a page of commands, newest first."""
    c = t.commands
    statement = select(c).order_by(c.c.sequence.desc())
    for name in AuditFilter.__struct_fields__:
        if (value := getattr(wanted, name)) is not None:
            statement = statement.where(c.c[name] == value)
    rows, total = await reading.page(statement, page)
    entries: list[AuditEntry] = []
    for row in rows:
        request = await _body(reading, row["sequence"])
        before, after = await _change(reading, row)
        entries.append(shaped(AuditEntry, {**row, "request": request, "before": before, "after": after}))
    return AuditList(commands=entries, total=total)


@consistent
async def recorded(reading: Reading, command_id: str) -> Recorded:
    """Return what became of a command, and up to where the tables hold the log."""
    row = await reading.row(select(t.commands).where(t.commands.c.id == command_id))
    position = await reading.position()
    if row is None:
        return Recorded(position=position)
    outcome = None
    if row["outcome"] != "pending":
        outcome = Outcome(
            sequence=row["outcome_sequence"],
            accepted=row["outcome"] == "accepted",
            code=row["code"],
            reason=row["reason"] or "",
            field=row["field"],
        )
    return Recorded(position=position, sequence=row["sequence"], outcome=outcome)


async def _change(reading: Reading, row: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the definition before and after an accepted command on definitions; both are on the log."""
    if row["outcome"] != "accepted" or row["entity"] == "execution" or row["verb"] == "execute":
        return None, None
    e = t.events
    subject = f"catalog.{row['entity']}.{row['entity_id']}"
    same = (e.c.key == row["entity_id"]) & (e.c.subject == subject)
    # an answer may have several events: this entity's own is the first at or after the outcome
    own = select(func.min(e.c.sequence)).where(same & (e.c.sequence >= row["outcome_sequence"]))
    earlier = select(func.max(e.c.sequence)).where(same & (e.c.sequence < row["outcome_sequence"]))
    after = (await reading.rows(own))[0][0]
    before = (await reading.rows(earlier))[0][0]
    return await _definition(reading, before), await _definition(reading, after)


async def _definition(reading: Reading, sequence: int | None) -> dict[str, Any] | None:
    body = await _body(reading, sequence)
    return None if body is None else body.get("definition")


async def _body(reading: Reading, sequence: int | None) -> dict[str, Any] | None:
    if sequence is None:
        return None
    row = await reading.row(select(t.events.c.body).where(t.events.c.sequence == sequence))
    if row is None:
        return None
    data: dict[str, Any] = msgspec.json.decode(row["body"])["data"]
    return data
