"""The log's own messages, from their second copy in the tables."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, or_, select

from api.readmodel.reader import Page, Reader, consistent
from api.responses.log import EventList, LoggedEvent
from bus.envelope import Stored, decode
from bus.selection import Filter
from bus.subjects import ABOUT_IDENTITIES
from schemas import tables as t
from schemas.base import Value

AT_ONCE = 25  # messages, of which each may be large


class Part(Value, frozen=True, kw_only=True):
    """Which part of the log: after a sequence and, newest first, before one.

    `identities`: with what is about tokens of the API and enrolled workers.
    """

    after: int = 0
    before: int | None = None
    identities: bool = True


@consistent
async def of_execution(reader: Reader, execution_id: str, page: Page) -> EventList | None:
    """Return a page of all messages that belong to an execution, in the log's order; None when there is none."""
    if not await reader.rows(select(t.executions.c.id).where(t.executions.c.id == execution_id)):
        return None
    return await _page(reader, _select().where(t.events.c.correlation == execution_id), page)


async def find(reader: Reader, pattern: str, wanted: Filter, part: Part, page: Page) -> EventList:
    """Return a page of a part of the log, on subjects that match a NATS pattern, as `flows log` does."""
    e = t.events
    statement = _select().where(e.c.sequence > part.after)
    if part.before is not None:
        statement = statement.where(e.c.sequence < part.before)
    if not part.identities:
        statement = statement.where(*(e.c.subject.not_like(f"{about}%") for about in ABOUT_IDENTITIES))
    if pattern != ">":
        statement = statement.where(_matching(pattern))
    if wanted.flow is not None:
        named = select(t.protection_flows.c.id).where(t.protection_flows.c.name == wanted.flow)
        statement = statement.where(or_(e.c.key == wanted.flow, e.c.key.in_(named)))
    if wanted.execution is not None:
        statement = statement.where(or_(e.c.correlation == wanted.execution, e.c.key == wanted.execution))
    if wanted.vm is not None:
        about = e.c.body.contains(f'"context_id":"{wanted.vm}"', autoescape=True)
        statement = statement.where(or_(e.c.key == wanted.vm, about))
    if wanted.since is not None:
        statement = statement.where(e.c.time >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(e.c.time < wanted.until)
    return await _page(reader, statement, page, backwards=part.before is not None)


@consistent
async def following(reader: Reader, after: int) -> tuple[list[Stored], int]:
    """Return some messages after a sequence, in order; and up to where on the log nothing else is to be found."""
    e = t.events
    statement = select(e.c.sequence, e.c.subject, e.c.time, e.c.body).where(e.c.sequence > after)
    rows = await reader.rows(statement.order_by(e.c.sequence).limit(AT_ONCE))
    position = rows[-1].sequence if len(rows) == AT_ONCE else max(after, await reader.position())
    entries = (
        decode(sequence=row.sequence, subject=row.subject, stored_at=row.time, body=row.body.encode()) for row in rows
    )
    return [one for one in entries if isinstance(one, Stored)], position


def _matching(pattern: str) -> ColumnElement[bool]:
    """Return a filter on subjects that match or begin so. They have three tokens or four, and no token has a dot."""
    tokens = [token.replace("/", "//").replace("%", "/%").replace("_", "/_") for token in pattern.split(".")]
    like = ".".join("%" if token in {"*", ">"} else token for token in tokens)
    subject = t.events.c.subject
    whole = subject.like(like, escape="/")
    if tokens[-1] == ">":
        return whole
    if len(tokens) == 3:  # no `*` stands for two tokens
        whole &= subject.not_like("%.%.%.%")
    return whole | subject.like(f"{like}.%", escape="/")


def _select() -> Select[*tuple[Any, ...]]:
    e = t.events
    return select(e.c.sequence, e.c.subject, e.c.body)


async def _page(
    reader: Reader, statement: Select[*tuple[Any, ...]], page: Page, *, backwards: bool = False
) -> EventList:
    sequence = t.events.c.sequence
    ordered = statement.order_by(sequence.desc() if backwards else sequence)
    rows, total = await reader.page(ordered, page, [t.events.c.body])
    events = [
        LoggedEvent(sequence=row["sequence"], subject=row["subject"], event=_decoded(row["body"])) for row in rows
    ]
    return EventList(events=events, total=total)


def _decoded(body: str) -> object:
    """Return a message's body; one that is no JSON as the text that it is."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body
