"""Why a flow ran, or did not, in plain words: the chain of its decisions, from the tables."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select

from api.readmodel import calendar, occurrences
from api.readmodel.reader import Reader, consistent
from api.responses.calendar import OccurrenceOutcome
from api.responses.flows import Explanation
from schemas import tables as t
from schemas.definitions import Schedule
from schemas.ids import instant
from services.scheduler import calendar as times

AROUND = timedelta(days=31)  # in which the occurrence is searched for
NEAR = timedelta(minutes=1)


async def flow_id_of(reader: Reader, flow: str) -> str | None:
    """Return the id of a flow that is named, or whose id this is."""
    f = t.protection_flows
    row = await reader.row(select(f.c.id).where(or_(f.c.id == flow, f.c.name == flow)))
    return None if row is None else str(row["id"])


@consistent
async def of_flow(reader: Reader, flow_id: str, at: datetime | None, now: datetime) -> Explanation | None:
    """Return what became of a flow at an instant, or last; None when there is no such flow."""
    flow = await reader.row(occurrences.flows().where(t.protection_flows.c.id == flow_id))
    if flow is None:
        return None
    schedule = (await calendar.schedules(reader, [flow["schedule_id"]])).get(flow["schedule_id"] or "")
    moment = at or now
    lines = [_definition(flow, schedule)]
    executed = await _execution(reader, flow_id, moment, exact=at is not None)
    begin = moment - (NEAR if at else AROUND)
    last = await occurrences.last(reader, flow_id, begin, min(moment + NEAR, now))
    if executed is not None and (
        last is None or last.outcome == "executed" or executed["started_at"] > last.occurrence
    ):
        lines += await _why_it_ran(reader, executed)
    elif last is not None:
        lines += _why_it_did_not(last)
    else:
        lines += _nothing(flow, schedule, moment, exact=at is not None)
    frozen, budget = await calendar.freeze(reader), times.Budget(calendar.LOOKS)
    following = next(calendar.upcoming(flow, schedule, now, frozen, budget), None)
    why_not = calendar.why_not(flow, schedule) or "its schedule has no more occurrences"
    lines.append(f"It runs next at {instant(following[1])}." if following else f"Nothing runs it next: {why_not}.")
    return Explanation(flow_id=flow_id, at=moment, lines=lines)


def _definition(flow: Mapping[str, Any], schedule: Schedule | None) -> str:
    if schedule is None:
        return f"Flow {flow['name']!r} has no schedule: it runs when somebody asks for it."
    cron = ", ".join([schedule.cron_expression, *schedule.more_expressions])
    later = f", jitter up to {schedule.jitter_seconds} s" if schedule.jitter_seconds else ""
    why_not = calendar.why_not(flow, schedule)
    off = f" But {why_not}." if why_not else ""
    return f"Flow {flow['name']!r} is on schedule {schedule.name!r} ({cron} in {schedule.timezone}{later}).{off}"


async def _execution(reader: Reader, flow_id: str, moment: datetime, *, exact: bool) -> dict[str, Any] | None:
    e = t.executions
    found = select(e).where(e.c.flow_id == flow_id, e.c.started_at <= moment + NEAR)
    if exact:
        near_occurrence = e.c.occurrence.between(moment - NEAR, moment + NEAR)
        running = or_(e.c.completed_at.is_(None), e.c.completed_at >= moment - NEAR)
        found = found.where(or_(near_occurrence, running))
    return await reader.row(found.order_by(e.c.started_at.desc()).limit(1))


async def _why_it_ran(reader: Reader, execution: Mapping[str, Any]) -> list[str]:
    began = execution["started_at"]
    if execution["occurrence"] is None:
        lines = [f"It was started by {execution['triggered_by']} at {instant(began)}."]
    elif execution["backfill_id"] is not None:
        by = f"a backfill by {execution['triggered_by']}"
        lines = [f"Occurrence {instant(execution['occurrence'])} was executed at {instant(began)} by {by}."]
    else:
        late = (began - execution["occurrence"]).total_seconds()
        behind = f", {late:.0f} s after its time" if late >= 1 else ""
        matched = f"Its schedule matched at {instant(execution['occurrence'])}"
        lines = [f"{matched}, and it began{behind}: nothing stood in the way."]
    if execution["retry_of"]:
        lines.append(f"It retried what had not succeeded in execution {execution['retry_of']}.")
    lines.append(f"It planned {execution['jobs_created']} VMs.")
    lines += [f"VM {one['context_id']} was left out: {one['reason']}." for one in execution["excluded"][:10]]
    lines += await _waits(reader, execution)
    if execution["completed_at"] is None:
        lines.append("It is still running.")
        return lines
    taken = (execution["completed_at"] - began).total_seconds()
    done, failed, left = (execution[f"jobs_{name}"] for name in ("completed", "failed", "skipped"))
    counts = f"{done} succeeded, {failed} failed, {left} did not run"
    lines.append(f"It ended after {taken:.0f} s as {execution['status']}: {counts}.")
    if execution["error_message"]:
        lines.append(f"Because: {execution['error_message']}.")
    return lines


async def _waits(reader: Reader, execution: Mapping[str, Any]) -> list[str]:
    """Return how long its VMs waited for slots, and for which."""
    j, e, r = t.backup_jobs, t.executions, t.repositories
    row = await reader.row(
        select(func.max(j.c.requested_at).label("last"), func.count(j.c.requested_at).label("number")).where(
            j.c.execution_id == execution["id"]
        )
    )
    if row is None or row["last"] is None:
        return ["No VM has got a slot."] if execution["jobs_created"] else []
    waited = (row["last"] - execution["started_at"]).total_seconds()
    if waited < 1:
        return ["Every VM that ran got its slot at once."]
    just_before = row["last"] - timedelta(microseconds=1)
    open_then = j.c.requested_at.is_not(None) & (j.c.requested_at <= just_before)
    open_then &= or_(j.c.completed_at.is_(None), j.c.completed_at >= just_before)
    limit = execution["max_concurrent_jobs"]
    mine = await reader.row(select(func.count().label("n")).where(open_then, j.c.execution_id == execution["id"]))
    place = await reader.row(select(r.c.name, r.c.max_concurrent_jobs).where(r.c.id == execution["repository_id"]))
    there = await reader.row(
        select(func.count().label("n"))
        .select_from(j.join(e, e.c.id == j.c.execution_id))
        .where(open_then, j.c.repository_id == execution["repository_id"])
    )
    cause = "for a slot, or for a VM that was busy"
    if limit is not None and mine is not None and mine["n"] >= limit:
        cause = f"for a slot of the flow: {mine['n']} of {limit} were taken"
    elif place is not None and place["max_concurrent_jobs"] is not None and there is not None:
        cause = f"for a slot of repository {place['name']!r}: {there['n']} of {place['max_concurrent_jobs']} were taken"
    return [f"The last of {row['number']} VMs to get a slot had waited {waited:.0f} s {cause}."]


def _why_it_did_not(last: OccurrenceOutcome) -> list[str]:
    at = instant(last.occurrence)
    match last.outcome:
        case "skipped":
            return [f"Its schedule matched at {at}, and it was skipped: {last.reason}."]
        case "missed":
            end = f" to {instant(last.last)}" if last.last and last.count > 1 else ""
            number = f"{last.count} occurrences, {at}{end}," if last.count > 1 else f"The occurrence {at}"
            return [f"{number} passed while no scheduler ran, and the schedule's catch-up did not run them."]
        case _:
            return [f"It was due at {at}, and waits for the executor, or for another execution of the flow."]


def _nothing(flow: Mapping[str, Any], schedule: Schedule | None, moment: datetime, *, exact: bool) -> list[str]:
    if not exact or schedule is None:
        return ["It has not run yet."]
    near = list(times.annotated(schedule, moment - NEAR, moment + NEAR))
    excluded = next((one.note for one in near if not one.fires), None)
    if excluded is not None:
        return [f"Its schedule matches at {instant(near[0].at)}, and that is {excluded}."]
    if near and (armed_at := max(flow["armed_at"], schedule.armed_at)) >= near[0].at:
        return [f"It is scheduled like this only since {instant(armed_at)}; what was before does not count."]
    if near:
        return [f"Its schedule matches at {instant(near[0].at)}; the log has no outcome for it."]
    following = times.next_occurrence(schedule, moment)
    when = f"; the next match after that is {instant(following)}" if following else ""
    return [f"Its schedule does not match at {instant(moment)}{when}."]
