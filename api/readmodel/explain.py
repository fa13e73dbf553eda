"""Why a flow ran, or did not: the messages of the log that tell it, from their second copy in the tables.

What they tell, `services/explanation` says. Here is read what it needs, and no more than one response is made for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, TextClause, func, or_, select

from api.readmodel.reader import Reader, consistent
from api.responses.flows import Explanation
from bus.envelope import Stored, decode
from schemas import tables as t
from schemas.commands import RetryExecution
from schemas.definitions import Flow
from schemas.events import BackupRequested, FlowBackfilling, FlowDefined, FlowPlanned, FlowSkipped
from schemas.ids import AD_HOC, ENGINE, backfill_execution_id, scheduled_execution_id
from services.explanation.explanation import Workers, about, explain, surveyed
from services.explanation.sentences import Question, Told
from services.explanation.survey import Run, Survey
from services.scheduler import calendar

BYTES = 6 * 1024 * 1024  # of messages that are read for one explanation
OWN = 3_000  # messages about the backups of one execution
OTHERS = 3_000  # messages about backups of others, that held slots meanwhile
VERSIONS = 100  # of the definitions of one kind
FLOW_MESSAGES = 200  # of a flow, about its executions
NAMED = 10  # VMs, and flows, that are looked up
NEAR = timedelta(minutes=1)
_EXECUTIONS = ("flow.due", "flow.started", "flow.skipped", "flow.completed", "flow.cancelling", "command.flow.execute")
_BEGINNINGS = ("flow.due", "command.flow.execute", "command.execution.retry", "command.backup.create")
_OUTCOMES = tuple(f"flow.{one}" for one in ("started", "planned", "skipped", "cancelling", "overdue", "completed"))
_TRIGGERS = (*_EXECUTIONS, "flow.missed", "flow.backfilling")
_OWN = ("requested", "abandoned", "skipped", "started", "retrying", "completed", "failed", "cancelled")
_SLOTS = ("requested", "started", "skipped", "completed", "failed", "cancelled")
_ALWAYS = (f"catalog.freeze.{ENGINE}", f"catalog.settings.{ENGINE}")


async def flow_id_of(reader: Reader, flow: str) -> str | None:
    """Return the id of a flow that is named, or whose id this is."""
    f = t.protection_flows
    row = await reader.row(select(f.c.id).where(or_(f.c.id == flow, f.c.name == flow)).limit(1))
    return None if row is None else str(row["id"])


@consistent
async def of_flow(
    reader: Reader, flow_id: str, at: datetime | None, now: datetime, workers: Workers = None
) -> Explanation | None:
    """Return what became of a flow at an instant, or last; None when there is no such flow."""
    found = _Messages(reader)
    await _define(found, flow_id, None if at is None else t.events.c.time <= at)
    if not found.entries:
        return None
    if at is None:
        await found.add(_of(flow_id, _TRIGGERS), most=FLOW_MESSAGES, newest=True)
        await _retries(found, flow_id)
    else:
        await _near(found, flow_id, at)
    survey = surveyed(found.in_order)
    for subject in about(survey, flow_id, at):
        if isinstance(subject, Run):
            await _execution(found, survey, subject)
    told = _explained(found, Question(flow_id=flow_id, at=at), now, workers)
    return None if told is None else response(told)


@consistent
async def of_execution(reader: Reader, execution_id: str, now: datetime, workers: Workers = None) -> Explanation | None:
    """Return what became of an execution, or of a trigger that became none; None when nothing is known of it."""
    found = _Messages(reader)
    await _of_run(found, execution_id)
    survey = surveyed(found.in_order)
    run = survey.runs.get(execution_id)
    if run is None or not run.known:
        return None
    await _define(found, run.flow_id, t.events.c.sequence <= run.first.sequence)
    await _execution(found, surveyed(found.in_order), run)
    told = _explained(found, Question(execution_id=execution_id), now, workers)
    return None if told is None else response(told)


def response(told: Told) -> Explanation:
    """Return an explanation as it is given to people."""
    return Explanation(
        flow_id=told.flow_id,
        at=told.at,
        execution_id=told.execution_id,
        lines=[one.text for one in told.sentences],
        sentences=told.sentences,
    )


class _Messages:
    """The messages that have been read. `complete`: of what was asked for, none was left out."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.entries: dict[int, Stored] = {}
        self.complete = True
        self._left = BYTES

    @property
    def in_order(self) -> list[Stored]:
        return [self.entries[sequence] for sequence in sorted(self.entries)]

    async def add(self, *where: ColumnElement[bool] | TextClause, most: int, newest: bool = False) -> bool:
        """Read messages, the first or the newest; return whether these are all, as far as there is room for them."""
        e = t.events
        order = e.c.sequence.desc() if newest else e.c.sequence
        sizes = select(e.c.sequence, func.length(e.c.body).label("size")).where(*where).order_by(order).limit(most + 1)
        wanted: list[int] = []
        every = True
        for row in await self.reader.rows(sizes):
            if len(wanted) == most or row.size > self._left:
                every = False
                break
            if row.sequence not in self.entries:
                self._left -= row.size
                wanted.append(row.sequence)
        if wanted:
            rows = select(e.c.sequence, e.c.subject, e.c.time, e.c.body).where(e.c.sequence.in_(wanted))
            for row in await self.reader.rows(rows):
                entry = decode(sequence=row.sequence, subject=row.subject, stored_at=row.time, body=row.body.encode())
                if isinstance(entry, Stored):
                    self.entries[entry.sequence] = entry
        return every

    async def versions(self, subjects: Iterable[str], *where: ColumnElement[bool]) -> None:
        """Read the newest versions of definitions, of those that fulfil conditions."""
        if wanted := sorted(set(subjects)):
            await self.add(t.events.c.subject.in_(wanted), t.DEFINITIONS, *where, most=VERSIONS, newest=True)


def _explained(found: _Messages, question: Question, now: datetime, workers: Workers) -> Told | None:
    whole = found.reader.finds_everything
    return explain(found.in_order, question, now, complete=found.complete, others=whole, workers=workers)


def _of(flow_id: str, types: Collection[str]) -> ColumnElement[bool]:
    return (t.events.c.key == flow_id) & t.events.c.type.in_(types)


async def _define(found: _Messages, flow_id: str, then: ColumnElement[bool] | None) -> None:
    """Read the definitions of a flow, of the schedules that it was on, and of the whole engine.

    As they are now, as the flow was when it was created, and, where there are very many versions, those around `then`:
    the last ones that fulfil it, and the first ones that do not.
    """
    subject = f"catalog.flow.{flow_id}"
    await found.add(t.events.c.subject == subject, t.DEFINITIONS, most=1)
    await _around(found, [subject], then)
    flows = [entry.envelope.data.definition for entry in found.in_order if isinstance(entry.envelope.data, FlowDefined)]
    ids = [one.schedule_id for one in reversed(flows) if one is not None and one.schedule_id is not None]
    schedules = [f"catalog.schedule.{id_}" for id_ in [*dict.fromkeys(ids)][:NAMED]]
    if flows or flow_id == AD_HOC:
        await _around(found, [*schedules, *_ALWAYS], then)


async def _around(found: _Messages, subjects: Sequence[str], then: ColumnElement[bool] | None) -> None:
    await found.versions(subjects)
    if then is not None:
        await found.versions(subjects, then)
        await found.add(t.events.c.subject.in_(subjects), t.DEFINITIONS, ~then, most=VERSIONS)


async def _retries(found: _Messages, flow_id: str) -> None:
    """Read the newest commands that retry executions of a flow: they are filed under the executions."""
    others = _Messages(found.reader)
    await others.add(t.events.c.type == "command.execution.retry", most=20, newest=True)
    for sequence, entry in others.entries.items():
        if isinstance(retry := entry.envelope.data, RetryExecution) and retry.flow_id == flow_id:
            found.entries[sequence] = entry


async def _near(found: _Messages, flow_id: str, at: datetime) -> None:
    """Read what may be about a flow at an instant: its occurrences near to it, and what ran then."""
    e, x = t.events, t.executions
    survey = surveyed(found.in_order)
    ids = {scheduled_execution_id(flow_id, one) for one in _candidates(survey, flow_id, at)}
    await found.add(_of(flow_id, ("flow.backfilling",)), most=NAMED, newest=True)
    for entry in found.in_order:
        if isinstance(backfill := entry.envelope.data, FlowBackfilling):
            near = (one for one in backfill.occurrences if abs(one - at) < NEAR)
            ids |= {backfill_execution_id(backfill.backfill_id, one) for one in near}
    near_occurrence = x.c.occurrence.between(at - NEAR, at + NEAR)
    ran = (x.c.started_at <= at + NEAR) & or_(x.c.completed_at.is_(None), x.c.completed_at >= at - NEAR)
    for condition in (near_occurrence, ran):
        rows = select(x.c.id).where(x.c.flow_id == flow_id, condition).order_by(x.c.started_at.desc()).limit(NAMED)
        ids |= {row.id for row in await found.reader.rows(rows)}
    await found.add(e.c.correlation.in_(sorted(ids)), e.c.type.like("flow.%"), most=FLOW_MESSAGES)
    asked_then = e.c.time.between(at - NEAR, at + NEAR)
    await found.add(_of(flow_id, ("command.flow.execute",)), asked_then, most=NAMED)
    await found.add(_of(flow_id, ("flow.missed",)), e.c.time >= at, most=5)


def _candidates(survey: Survey, flow_id: str, at: datetime) -> Iterable[datetime]:
    """Yield the occurrences near an instant, by any schedule that a flow was ever on."""
    yield at.replace(second=0, microsecond=0)
    seen: set[str] = set()
    for change in survey.definitions.of("flow", flow_id):
        schedule_id = change.definition.schedule_id if isinstance(change.definition, Flow) else None
        if schedule_id is None or schedule_id in seen:
            continue
        seen.add(schedule_id)
        for version in survey.definitions.of("schedule", schedule_id)[-NAMED:]:
            if version.definition is not None:
                yield from calendar.occurrences(version.definition, at - NEAR, at + NEAR)  # type: ignore[arg-type]


async def _execution(found: _Messages, survey: Survey, run: Run) -> None:
    """Read all that matters to one trigger of a flow, and to the execution that it became."""
    e = t.events
    found.complete &= await _of_run(found, run.id)
    await _trigger(found, run)
    end = run.completed or run.skipped
    until = [] if end is None else [e.c.sequence <= end.sequence]
    await found.add(_of(run.flow_id, _EXECUTIONS), *until, most=FLOW_MESSAGES, newest=True)
    await _beside(found, run)
    run = surveyed(found.in_order).runs[run.id]  # with what has been read by now
    types = [f"backup.{one}" for one in _OWN]
    found.complete &= await found.add(e.c.correlation == run.id, e.c.type.in_(types), most=OWN)
    await _concerned(found, survey, run, until)
    await _slots(found, run)


async def _of_run(found: _Messages, execution_id: str) -> bool:
    """Read the messages of an execution that are not about its backups; return whether these are all."""
    mine = t.events.c.correlation == execution_id
    await found.add(mine, t.events.c.type.in_(_BEGINNINGS), most=NAMED)
    return await found.add(mine, t.events.c.type.in_(_OUTCOMES), most=FLOW_MESSAGES)


async def _trigger(found: _Messages, run: Run) -> None:
    """Read the command, or the backfill, that a run came from."""
    cause = run.outcome.envelope.causationid if run.outcome else None
    if cause is not None:
        command = select(t.commands.c.sequence).where(t.commands.c.id == cause)
        sequences = [row.sequence for row in await found.reader.rows(command)]
        await found.add(t.events.c.sequence.in_(sequences), most=1)
        retried = [entry.envelope.data for entry in found.in_order if entry.sequence in sequences]
        if retried and isinstance(retry := retried[0], RetryExecution):
            of_retried = t.events.c.correlation == retry.id
            await found.add(of_retried, t.events.c.type.in_(_EXECUTIONS), most=NAMED)
    skip = run.skipped.envelope.data if run.skipped else None
    if run.backfill_id is not None:
        await found.add(t.events.c.correlation == run.backfill_id, most=NAMED)
    elif isinstance(skip, FlowSkipped) and skip.occurrence is not None and skip.execution_type != "scheduled":
        backfills = _of(run.flow_id, ("flow.backfilling", "flow.backfill_cancelled"))
        await found.add(backfills, most=NAMED, newest=True)  # a skip does not say of which backfill it is


async def _beside(found: _Messages, run: Run) -> None:
    """Read the ends and beginnings of executions of the same flow, that ran when this one was asked for."""
    x, e = t.executions, t.events
    asked_at = run.first.envelope.time
    open_then = (x.c.started_at <= asked_at) & or_(x.c.completed_at.is_(None), x.c.completed_at >= asked_at)
    rows = select(x.c.id).where(x.c.flow_id == run.flow_id, open_then).order_by(x.c.started_at.desc()).limit(NAMED)
    ids = [row.id for row in await found.reader.rows(rows)]
    types = ("flow.due", "flow.started", "flow.cancelling", "flow.completed")
    await found.add(e.c.correlation.in_(ids), e.c.type.in_(types), most=FLOW_MESSAGES)


async def _concerned(found: _Messages, survey: Survey, run: Run, until: Sequence[ColumnElement[bool]]) -> None:
    """Read the definitions that something about a run rests on."""
    known = [one.definition for one in survey.definitions.of("flow", run.flow_id)]
    flow = next((one for one in reversed(known) if isinstance(one, Flow)), None)
    wanted: list[str] = []
    if flow is not None:
        wanted += [f"catalog.repository.{flow.repository_id}", f"catalog.policy.{flow.policy_id}"]
    if run.terms is not None:
        wanted.append(f"catalog.repository.{run.terms.repository_id}")
    await found.versions(wanted, *until)
    vms = list(_vms(found.in_order, run))
    await found.versions((f"catalog.vm.{id_}" for id_ in vms[:NAMED]), *until)
    skip = run.skipped.envelope.data if run.skipped else None
    by_target = isinstance(skip, FlowSkipped) and skip.reason.startswith("target_")
    if flow is not None and (by_target or vms):
        await found.versions([f"catalog.{flow.target_type}.{flow.target_id}"], *until)


def _vms(entries: Sequence[Stored], run: Run) -> Iterable[str]:
    """Yield the VMs of a run whose definitions matter: those left out, skipped, stopped alone, or asked for."""
    for entry in entries:
        data = entry.envelope.data
        if entry is run.trigger and (context_id := getattr(data, "context_id", None)):
            yield context_id
        if getattr(data, "execution_id", None) != run.id:
            continue
        if isinstance(data, FlowPlanned):
            yield from (one.context_id for one in data.excluded)
        elif entry.envelope.type in {"backup.skipped", "flow.cancelling"} and (
            context_id := getattr(data, "context_id", None)
        ):
            yield context_id


async def _slots(found: _Messages, run: Run) -> None:
    """Read who held slots while backups of an execution waited for theirs, and the flows that these are of."""
    if run.started is None or run.terms is None:
        return
    began = run.started
    requests = [one for one in found.in_order if _is_request(one, run.id)]
    first = {one.envelope.data.backup_id: one for one in reversed(requests)}  # type: ignore[attr-defined]
    waited = [one for one in first.values() if one.envelope.time - began.envelope.time >= timedelta(seconds=1)]
    idle = run.completed is None and len(first) < run.terms.jobs
    if not waited and not idle:
        return
    e, j = t.events, t.backup_jobs
    types = [f"backup.{one}" for one in _SLOTS]
    last = [] if idle else [e.c.sequence <= max(one.sequence for one in waited)]
    await found.add(e.c.type.in_(types), e.c.sequence > began.sequence, *last, most=OTHERS, newest=idle)
    open_then = (j.c.requested_at <= began.envelope.time) & or_(
        j.c.completed_at.is_(None), j.c.completed_at >= began.envelope.time
    )
    held = select(j.c.execution_id, j.c.requested_at).where(open_then, j.c.execution_id != run.id).limit(500)
    rows = await found.reader.rows(held)
    of_holders = e.c.correlation.in_({row.execution_id for row in rows})
    then = e.c.time.in_({row.requested_at for row in rows})
    await found.add(e.c.type == "backup.requested", of_holders, then, most=1_000)
    flows = {one.envelope.subject for one in found.in_order if isinstance(one.envelope.data, BackupRequested)}
    await found.versions(f"catalog.flow.{id_}" for id_ in sorted(flows - {run.flow_id})[:NAMED])


def _is_request(entry: Stored, execution_id: str) -> bool:
    data: Any = entry.envelope.data
    return isinstance(data, BackupRequested) and data.execution_id == execution_id
