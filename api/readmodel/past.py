"""What became of occurrences that passed, of one flow or of all.

A flow has up to half a million of them in a year, each with messages of its own. So the database picks and orders the
first; no more than these are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import case, func, select

from api.readmodel.reader import Reader
from api.responses.calendar import OccurrenceOutcome
from schemas import tables as t
from schemas.base import Value
from schemas.events import FlowDue, FlowMissed, FlowSkipped
from schemas.ids import instant, scheduled_execution_id

_MESSAGES = 3  # that one occurrence has, seldom more: so many are read for each
_TYPES = ("flow.due", "flow.skipped", "flow.missed")
_SECOND = len("2026-10-09T02:00:00")

Key = tuple[datetime, str]  # an occurrence, and its flow


class Past(Value, frozen=True, kw_only=True):
    """Outcomes, and whether these are all of their range."""

    found: dict[Key, OccurrenceOutcome]
    complete: bool


NOTHING = Past(found={}, complete=True)


async def outcomes(reader: Reader, flow_id: str | None, since: datetime, until: datetime, *, most: int) -> Past:
    """Return the outcomes of the first occurrences in a range, of one flow or of all.

    Of what was executed more than once (a backfill), the last execution counts.
    """
    messages = await _messages(reader, flow_id, since, until, most * _MESSAGES + 1)
    executions = await _executions(reader, flow_id, since, until, most + 1)
    read: list[tuple[list[tuple[str, OccurrenceOutcome]], bool]] = [
        (
            [(row["key"], one) for row in messages if (one := _outcome(row)) is not None],
            len(messages) > most * _MESSAGES,
        ),
        ([(row["flow_id"], _executed(row)) for row in executions], len(executions) > most),
    ]
    found: dict[Key, OccurrenceOutcome] = {}
    for part, _ in read:
        for flow, one in part:
            if one.outcome != "due" or (one.occurrence, flow) not in found:
                found[one.occurrence, flow] = one
    kept = {key: one for key, one in found.items() if since <= one.occurrence < until}
    # where a part was cut, what is at its end and beyond may be incomplete
    ends = [max(one.occurrence for _, one in part) for part, cut in read if cut and part]
    if ends:
        end = min(ends)
        before = {key: one for key, one in kept.items() if key[0] < end}
        kept = before or {key: one for key, one in kept.items() if key[0] == end}
    return Past(found=kept, complete=not ends)


async def _messages(
    reader: Reader, flow_id: str | None, since: datetime, until: datetime, most: int
) -> list[dict[str, Any]]:
    ev = t.events
    # an event of a range that was missed is about its first occurrence
    at = func.coalesce(reader.text_in(ev.c.body, "data", "occurrence"), reader.text_in(ev.c.body, "data", "first"))
    second = case((ev.c.type.in_(_TYPES), func.substr(at, 1, _SECOND)))  # other bodies may be no JSON
    whose = ev.c.sequence >= await first_since(reader, since) if flow_id is None else ev.c.key == flow_id
    statement = (
        select(ev.c.sequence, ev.c.type, ev.c.key, ev.c.body)
        .where(whose, ev.c.type.in_(_TYPES))
        .where(ev.c.time >= since)  # an outcome is never earlier than its occurrence
        .where(second >= instant(since)[:_SECOND], second <= instant(until)[:_SECOND])
        .order_by(second, ev.c.sequence)
        .limit(most)
    )
    return sorted(await reader.mappings(statement), key=lambda row: row["sequence"])


async def first_since(reader: Reader, since: datetime) -> int:
    """Return from which sequence on the log is about an instant and later, found by halving."""
    ev, reader = t.events, reader.of_everything()  # few steps over the whole log; it is a place alone
    low, high = 0, (await reader.rows(select(func.coalesce(func.max(ev.c.sequence), -1))))[0][0] + 1
    while low < high:
        middle = (low + high) // 2
        following = select(ev.c.sequence, ev.c.time).where(ev.c.sequence >= middle).order_by(ev.c.sequence).limit(1)
        (row,) = await reader.rows(following)
        low, high = (low, middle) if row.time >= since else (row.sequence + 1, high)
    return low


async def _executions(
    reader: Reader, flow_id: str | None, since: datetime, until: datetime, most: int
) -> list[dict[str, Any]]:
    e = t.executions
    # what was executed began at its occurrence at the earliest: the index on beginnings finds it
    whose = (e.c.flow_id.is_not(None), e.c.started_at >= since) if flow_id is None else (e.c.flow_id == flow_id,)
    statement = (
        select(e.c.id, e.c.flow_id, e.c.occurrence, e.c.status, e.c.started_at, e.c.error_message)
        .where(*whose, e.c.occurrence >= since, e.c.occurrence < until, e.c.started_at.is_not(None))
        .order_by(e.c.occurrence, e.c.started_at)
        .limit(most)
    )
    return sorted(await reader.mappings(statement), key=lambda row: row["started_at"])


class _Body(msgspec.Struct):
    data: FlowDue | FlowSkipped | FlowMissed


def _outcome(row: Mapping[str, Any]) -> OccurrenceOutcome | None:
    match msgspec.json.decode(row["body"], type=_Body).data:
        case FlowDue() as due:
            id_ = scheduled_execution_id(due.flow_id, due.occurrence)
            return OccurrenceOutcome(occurrence=due.occurrence, outcome="due", execution_id=id_)
        case FlowSkipped(occurrence=datetime() as at) as skipped:
            return OccurrenceOutcome(occurrence=at, outcome="skipped", reason=f"{skipped.reason}: {skipped.message}")
        case FlowMissed() as missed:
            return OccurrenceOutcome(occurrence=missed.first, last=missed.last, count=missed.count, outcome="missed")
        case _:
            return None


def _executed(row: Mapping[str, Any]) -> OccurrenceOutcome:
    return OccurrenceOutcome(
        occurrence=row["occurrence"],
        outcome="executed",
        execution_id=row["id"],
        status=row["status"],
        started_at=row["started_at"],
        reason=row["error_message"],
    )
