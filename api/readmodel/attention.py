"""What needs attention, ranked, each with what to do about it; and the verdict over all. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from api.readmodel.coverage import Judged
from api.readmodel.overdue import FlowLateness
from api.responses.calendar import FreezeResponse
from api.responses.coverage import CoverageCounts
from api.responses.overview import Action, Attention, AttentionKind, Severity, Subject, Verdict
from schemas.base import Value
from schemas.ids import instant

SINGLY = 3  # VMs of one cause that are told one by one
SEVERITIES: tuple[Severity, ...] = ("danger", "warning", "info")
SOON = timedelta(days=14)  # before a token expires, and before a repository is full
EVERYTHING = Subject(kind="engine", id=None, name="the engine")


class Execution(Value, frozen=True, kw_only=True):
    """An execution in which backups failed: whose it is. `flow_id`: None for a backup outside any flow."""

    id: str
    flow_id: str | None
    flow_name: str


class SkippedFlow(Value, frozen=True, kw_only=True):
    """A flow whose last occurrences were skipped, one after the other: how many, since when, and why the last was."""

    flow_id: str
    flow_name: str
    number: int
    since: datetime
    reason: str


class FillingRepository(Value, frozen=True, kw_only=True):
    """A repository that will be full on a day, if it goes on like this."""

    repository_id: str
    name: str
    full_on: str
    free_bytes: int


class UnreachableRepository(Value, frozen=True, kw_only=True):
    """A repository that this machine cannot see, and in which the last backup failed."""

    repository_id: str
    name: str
    since: datetime
    error: str


class ExpiringToken(Value, frozen=True, kw_only=True):
    token_id: str
    name: str
    expires_at: datetime


class Backlog(Value, frozen=True, kw_only=True):
    """Backups that wait and do not go on. `labelled`: those that wait for a worker with labels that none has."""

    without_worker: int = 0
    labelled: int = 0
    stuck: int = 0
    since: datetime | None = None


class Facts(Value, frozen=True, kw_only=True):
    """All that attention is paid to. `letters`: dead letters that nobody has settled; `ill`: services, and how."""

    vms: Sequence[Judged]
    executions: Mapping[str, Execution]
    late: Sequence[FlowLateness] = ()
    skipped: Sequence[SkippedFlow] = ()
    filling: Sequence[FillingRepository] = ()
    unreachable: Sequence[UnreachableRepository] = ()
    tokens: Sequence[ExpiringToken] = ()
    backlog: Backlog = Backlog()
    freeze: FreezeResponse | None = None
    letters: int = 0
    ill: Mapping[str, str] = {}


def ranked(facts: Facts) -> list[Attention]:
    """Return what needs attention, what is most urgent first: by severity, then by how many things it is about."""
    found = [*_vms(facts), *_flows(facts), *_repositories(facts), *_engine(facts)]
    order: Callable[[Attention], Any] = lambda one: (  # noqa: E731
        SEVERITIES.index(one.severity),
        -one.count,
        one.since.timestamp() if one.since else 0.0,
        one.kind,
        one.subject.name,
    )
    return sorted(found, key=order)


def verdict(counts: CoverageCounts, attention: Sequence[Attention]) -> Verdict:
    """Return the verdict in one sentence. VMs that are disabled are in none of its numbers."""
    total = counts.failing + counts.stale + counts.unprotected + counts.pending + counts.protected
    if not total:
        if counts.excluded:
            return Verdict(state="empty", sentence="Every VM is disabled: nothing is protected.")
        return Verdict(state="empty", sentence="There are no VMs yet: nothing is protected.")
    unsafe = counts.failing + counts.stale
    told = [
        f"{counts.failing:,} failed last time" if counts.failing else "",
        f"{counts.stale:,} {_have(counts.stale)} no backup as new as promised" if counts.stale else "",
        f"{counts.unprotected:,} {_are(counts.unprotected)} in no flow" if counts.unprotected else "",
        f"{counts.pending:,} {_wait(counts.pending)} for the first run" if counts.pending else "",
    ]
    details = ", ".join(one for one in told if one)
    if unsafe or counts.unprotected:
        number = unsafe + counts.unprotected
        sentence = f"{number:,} of {_vms_of(total)} {_are(number)} not protected: {details}."
        return Verdict(state="danger" if unsafe else "attention", sentence=sentence)
    safe = f"{_vms_of(counts.protected)} {_are(counts.protected)} protected" if counts.protected else ""
    sentence = "; ".join(one for one in (safe, details) if one)
    worst = next(iter(attention), None)
    if worst is not None and worst.severity != "info":
        number = sum(one.severity != "info" for one in attention)
        needs = "one thing needs" if number == 1 else f"{number:,} things need"
        return Verdict(state="attention", sentence=f"{_upper(sentence)}, but {needs} attention.")
    return Verdict(state="safe", sentence=f"{_upper(sentence)}.")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _vms_of(number: int) -> str:
    return "1 VM" if number == 1 else f"{number:,} VMs"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def _wait(number: int) -> str:
    return "waits" if number == 1 else "wait"


# --- VMs -------------------------------------------------------------------------------------------------------------


def _vms(facts: Facts) -> Iterator[Attention]:
    failing: defaultdict[str, list[Judged]] = defaultdict(list)
    stale: defaultdict[str, list[Judged]] = defaultdict(list)
    alone: list[Judged] = []
    for one in facts.vms:
        match one.state:
            case "failing":
                failing[one.failed_in or ""].append(one)
            case "stale":
                stale[one.standing.flow_id or ""].append(one)
            case "unprotected":
                alone.append(one)
            case _:
                pass
    for execution_id, some in failing.items():
        execution = facts.executions.get(execution_id)
        since = min((one.failed_at for one in some if one.failed_at), default=None)
        flow = Subject(kind="flow", id=execution.flow_id, name=execution.flow_name) if execution else EVERYTHING
        yield from _told("vm_failing", "danger", some, flow, since, _retry(execution), "failed in their last backup")
    for flow_id, some in stale.items():
        name = next((flow.name for one in some for flow in one.flows if flow.id == flow_id), flow_id)
        since = min((one.good_at for one in some if one.good_at), default=None)
        flow = Subject(kind="flow", id=flow_id, name=name)
        lack = "have no good backup as new as its schedule promises"
        yield from _told("vm_stale", "danger", some, flow, since, _run(flow_id, name), lack)
    protect = Action(label="Show them", method=None, path="/vms?state=unprotected")
    yield from _told("vm_unprotected", "warning", alone, EVERYTHING, None, protect, "are backed up by no schedule")


def _told(
    kind: AttentionKind,
    severity: Severity,
    some: Sequence[Judged],
    cause: Subject,
    since: datetime | None,
    action: Action,
    what: str,
) -> Iterator[Attention]:
    """Yield what is to be said of VMs with one cause: of few one by one, of many at once, about the cause."""
    if len(some) <= SINGLY:
        for one in some:
            subject = Subject(kind="vm", id=one.context_id, name=one.vm_name)
            at = one.failed_at or (one.good_at if kind == "vm_stale" else None)
            text = f"VM {one.vm_name!r}: {one.standing.reason}"
            yield Attention(
                kind=kind, severity=severity, subject=subject, count=1, since=at, text=text, action=_of_vm(one, action)
            )
        return
    whose = f" of flow {cause.name!r}" if cause.kind == "flow" else ""
    names = ", ".join(repr(one.vm_name) for one in some[:SINGLY])
    text = f"{len(some):,} VMs{whose} {what}: {names} and {len(some) - SINGLY:,} more"
    yield Attention(kind=kind, severity=severity, subject=cause, count=len(some), since=since, text=text, action=action)


def _of_vm(one: Judged, action: Action) -> Action:
    if action.method is None:
        return Action(label="Show it", method=None, path=f"/vms/{one.context_id}")
    return action


def _retry(execution: Execution | None) -> Action:
    if execution is None or execution.flow_id is None:
        return Action(label="Show them", method=None, path="/vms?state=failing")
    return Action(label="Retry what failed", method="POST", path=f"/api/v1/executions/{execution.id}/retry")


def _run(flow_id: str, name: str) -> Action:
    return Action(label=f"Run {name} now", method="POST", path=f"/api/v1/protection-flows/{flow_id}/execute")


# --- flows, repositories, the engine ---------------------------------------------------------------------------------


def _flows(facts: Facts) -> Iterator[Attention]:
    told = {one.standing.flow_id for one in facts.vms if one.state == "stale"}
    for late in facts.late:
        if late.overdue and late.flow_id not in told:
            last = f"its last success began at {instant(late.last_success)}" if late.last_success else "it has had none"
            yield Attention(
                kind="flow_overdue",
                severity="warning",
                subject=Subject(kind="flow", id=late.flow_id, name=late.name),
                count=1,
                since=late.last_success,
                text=f"Flow {late.name!r} should have succeeded by now, by its schedule: {last}",
                action=_run(late.flow_id, late.name),
            )
    for skipped in facts.skipped:
        times = "time" if skipped.number == 1 else "times"
        yield Attention(
            kind="flow_skipped",
            severity="warning",
            subject=Subject(kind="flow", id=skipped.flow_id, name=skipped.flow_name),
            count=1,
            since=skipped.since,
            text=f"Flow {skipped.flow_name!r} was skipped {skipped.number:,} {times} in a row: {skipped.reason}",
            action=Action(label="Show why", method=None, path=f"/flows/{skipped.flow_id}"),
        )


def _repositories(facts: Facts) -> Iterator[Attention]:
    for one in facts.unreachable:
        yield Attention(
            kind="repository_unreachable",
            severity="danger",
            subject=Subject(kind="repository", id=one.repository_id, name=one.name),
            count=1,
            since=one.since,
            text=f"Repository {one.name!r} cannot be seen from this machine, and its last backup failed: {one.error}",
            action=Action(label="Show it", method=None, path=f"/repositories/{one.repository_id}"),
        )
    for full in facts.filling:
        yield Attention(
            kind="repository_filling",
            severity="warning",
            subject=Subject(kind="repository", id=full.repository_id, name=full.name),
            count=1,
            since=None,
            text=f"Repository {full.name!r} is full on {full.full_on}, if it goes on like this",
            action=Action(label="Show its space", method=None, path=f"/repositories/{full.repository_id}"),
        )


def _engine(facts: Facts) -> Iterator[Attention]:
    backlog, queue = facts.backlog, Action(label="Show the workers", method=None, path="/workers")

    def about(kind: AttentionKind, severity: Severity, count: int, text: str, action: Action, **more: Any) -> Attention:
        values: dict[str, Any] = {"subject": EVERYTHING, "since": None, **more}
        return Attention(kind=kind, severity=severity, count=count, text=text, action=action, **values)

    if backlog.without_worker:
        text = f"No worker is there, and {_backups(backlog.without_worker)} for one: start a worker"
        yield about("no_worker", "danger", backlog.without_worker, text, queue, since=backlog.since)
    elif backlog.labelled:
        text = f"{_upper(_backups(backlog.labelled))} for a worker with labels that none has who is there"
        yield about("no_worker", "danger", backlog.labelled, text, queue, since=backlog.since)
    elif backlog.stuck:
        text = f"{_upper(_backups(backlog.stuck))}, and nothing runs"
        yield about("queue_stuck", "danger", backlog.stuck, text, queue, since=backlog.since)
    for name, how in facts.ill.items():
        subject = Subject(kind="engine", id=name, name=name)
        show = Action(label="Show the log", method=None, path="/log")
        yield about("service", "danger", 1, f"The {name} is {how}", show, subject=subject)
    for token in facts.tokens:
        subject = Subject(kind="token", id=token.token_id, name=token.name)
        text = f"Token {token.name!r} opens nothing any more from {instant(token.expires_at)} on"
        show = Action(label="Show the tokens", method=None, path="/tokens")
        yield about("token_expires", "warning", 1, text, show, subject=subject)
    if facts.letters:
        are = "1 message on the log could" if facts.letters == 1 else f"{facts.letters:,} messages on the log could"
        show = Action(label="Show the log", method=None, path="/log?pattern=dead.>")
        yield about("dead_letters", "warning", facts.letters, f"{are} not be used: see `flows dead list`", show)
    if facts.freeze is not None:
        text = f"Nothing starts by its schedule until {instant(facts.freeze.until)}: {facts.freeze.reason}"
        end = Action(label="End the freeze", method="DELETE", path="/api/v1/freeze")
        yield about("freeze", "info", 1, text, end, since=facts.freeze.since)


def _backups(number: int) -> str:
    return "1 backup waits" if number == 1 else f"{number:,} backups wait"


def executions_of(vms: Iterable[Judged]) -> set[str]:
    """Return the executions in which backups failed that were the last of their VMs."""
    return {one.failed_in for one in vms if one.state == "failing" and one.failed_in is not None}
