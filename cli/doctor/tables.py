"""The tables against the log."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import Select, case, func, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bus.log import Log
from cli.doctor.findings import Finding, failed, finding
from cli.doctor.folded import Folded, read_on
from schemas import tables as t
from schemas.ids import AD_HOC
from services import database


async def compared(log: Log, tables: AsyncEngine, folded: Folded, *, patience: float) -> Finding:
    """Compare one moment of the tables with the log up to their position, once they hold all of it.

    That has `patience` seconds.
    """
    created = (await log.identity()).created
    deadline = asyncio.get_running_loop().time() + patience
    began: int = -1
    try:
        while True:
            async with database.snapshot(tables) as moment:
                rows = await _rows(moment, select(t.projection))
                if rows and rows[0]["stream_created"] != created:
                    text = "the tables belong to another log: use the database of this one, or rebuild it"
                    return failed(text)
                position = rows[0]["position"] if rows else 0
                if position >= folded.position:
                    await read_on(log, folded, until=position)
                    fine = f"the tables equal the log up to {position:,}; totals equal a recount"
                    return finding(await _differing(moment, folded), fine)
            began = position if began < 0 else began
            if asyncio.get_running_loop().time() > deadline:
                text = f"the tables hold the log up to {position:,}, {folded.position - position:,} messages behind: "
                if position > began:
                    return Finding(level="note", text=text + "the recorder is catching up")
                return failed(text + "is a recorder running?", passing=True)
            await asyncio.sleep(patience / 10)
    except SQLAlchemyError as error:
        return failed(f"the tables cannot be read: {str(error.__cause__ or error).splitlines()[0]}")


async def _rows(moment: AsyncConnection, statement: Select[*tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(row) for row in (await moment.execute(statement)).mappings()]


async def _differing(moment: AsyncConnection, folded: Folded) -> list[str]:
    """Return where the tables differ from the log. A deleted flow's executions are in the tables no more."""
    e, j = t.executions, t.backup_jobs
    known = {
        id_: execution
        for id_, execution in folded.executor.executions.items()
        if execution.started.flow_id in {*folded.executor.catalogue.flows, AD_HOC}
    }
    begun = select(e.c.id).where(e.c.completed_at.is_(None), e.c.started_at.is_not(None))
    running = {row["id"] for row in await _rows(moment, begun)}
    queued = select(j.c.id).where(j.c.status.in_(("queued", "running")))
    in_flight = {row["id"] for row in await _rows(moment, queued)}
    held = {id_ for execution in known.values() for id_ in execution.in_flight}
    pending = {row["id"] for row in await _rows(moment, select(e.c.id).where(e.c.status == "pending"))}
    flows, triggers = folded.executor.catalogue.flows, folded.executor.triggers.values()
    buffered = {one.execution_id for one in triggers if one.buffered and one.flow_id in flows}
    issues = [
        f"{what} in the tables or on the log, and not in both"
        for what, differing in (
            ("execution {} runs", running ^ known.keys()),
            ("execution {} waits", pending ^ buffered),
            ("backup {} runs", in_flight ^ held),
        )
        for what in map(what.format, sorted(differing))
    ]
    return issues + await _wrong_identities(moment, folded) + await _wrong_totals(moment)


async def _wrong_identities(moment: AsyncConnection, folded: Folded) -> list[str]:
    """Return the tokens and enrolled workers that the tables show otherwise than the log has them."""
    catalogue = folded.executor.catalogue
    issues: list[str] = []
    for what, table, known in (("token", t.tokens, catalogue.tokens), ("worker", t.workers, catalogue.workers)):
        shown = {row["id"]: row["version"] for row in await _rows(moment, select(table.c.id, table.c.version))}
        there = {id_: one.version for id_, one in known.items()}
        differing = sorted(shown.items() ^ there.items())
        issues += [f"{what} {id_} is not in the tables as on the log" for id_, _ in differing]
    return issues


async def _wrong_totals(moment: AsyncConnection) -> list[str]:
    """Return the flows whose totals are not what their executions add up to."""
    e, f = t.executions, t.protection_flows
    ended = e.c.completed_at.is_not(None) & e.c.started_at.is_not(None)
    recount = (
        select(
            e.c.flow_id,
            func.sum(case((ended, 1), else_=0)).label("total"),
            func.sum(case((ended & e.c.status.in_(("success", "warning")), 1), else_=0)).label("good"),
            func.sum(case((ended & (e.c.status == "error"), 1), else_=0)).label("failed"),
        )
        .group_by(e.c.flow_id)
        .subquery()
    )
    wrong = or_(
        f.c.total_executions != func.coalesce(recount.c.total, 0) + f.c.pruned_executions,
        f.c.successful_executions != func.coalesce(recount.c.good, 0) + f.c.pruned_successful,
        f.c.failed_executions != func.coalesce(recount.c.failed, 0) + f.c.pruned_failed,
    )
    statement = select(f.c.name).outerjoin(recount, recount.c.flow_id == f.c.id).where(wrong)
    return [f"the totals of flow {row['name']!r} differ from a recount" for row in await _rows(moment, statement)]
