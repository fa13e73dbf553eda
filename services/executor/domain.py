"""The executor's decisions: an execution from due to completed (docs/architecture.md, "The executor"). Pure.

State is folded from the log (`state.py`); `decide` compares what should have happened with what has, and returns the
difference. Time never comes from a clock: a decision carries the time of the event that led to it, so a replay takes
the same decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter

from schemas.events import (
    BackupAbandoned,
    BackupRequested,
    BackupSkipped,
    FlowBuffered,
    FlowCancelling,
    FlowSkipped,
    FlowStarted,
    PlannedBackup,
)
from schemas.labels import Contradiction, contradiction, pool_of, together
from services.catalogue import Catalogue
from services.decision import LIMIT, Batch, Decision
from services.executor.admission import Limits, admit
from services.executor.completion import complete
from services.executor.execution import Execution
from services.executor.pending import PendingBackfill, PendingCancel
from services.executor.starting import TriggerDecision, decide_triggers
from services.executor.state import State
from services.executor.stopping import closings, decide_backfill, decide_cancel, reject, skipped, stops

_OF_TRIGGER = FlowBuffered | FlowStarted | FlowSkipped


def decide(state: State) -> list[Batch]:
    """Return what is to be appended now, in order; each batch is atomic and has at most `LIMIT` messages."""
    if state.time is None:
        return []

    def rejected(pending: PendingCancel | PendingBackfill, reason: str) -> Batch:
        return [reject(state, pending, reason)]

    each = partial(state.set_aside.decide, sequence=attrgetter("sequence"))
    triggered = decide_triggers(state)
    begins = [decided.batch for decided in triggered]
    # a cancel of what begins, waits or is skipped with these decisions is decided when they are on the log
    moved = {one.event.execution_id for batch in begins for one in batch if isinstance(one.event, _OF_TRIGGER)}
    asked = [one for one in state.pending_cancels.values() if one.execution_id not in moved]
    cancels = each(asked, lambda one: [decide_cancel(state, one)], instead=rejected)
    backfills = each(state.pending_backfills.values(), lambda one: [decide_backfill(state, one)], instead=rejected)
    stopped = stops(state, _stopping([*begins, *cancels]))
    finished = [execution for execution in state.executions.values() if execution.finished]
    ends = each(finished, lambda execution: [complete(execution)])
    again = [*_withdrawn(state), *_new_requests(state)]
    others = [*cancels, *backfills, *stopped, *ends, *closings(state), *again]
    begun = [decided.execution for decided in triggered if decided.execution is not None]
    requests = _requests(state, begun, _stopping([*begins, *others]))
    return _joined(triggered, others, requests)


def _joined(triggered: Sequence[TriggerDecision], others: Sequence[Batch], requests: dict[str, Batch]) -> list[Batch]:
    """Return all batches: the first requests of an execution that begins join the batch that begins it."""
    begins: list[Batch] = []
    later = dict(requests)
    for decided in triggered:
        batch = decided.batch
        if decided.execution is not None:
            first = later.pop(decided.execution.started.execution_id, [])
            room = LIMIT - len(batch)
            batch = [*batch, *first[:room]]
            later[decided.execution.started.execution_id] = first[room:]
        begins.append(batch)
    rest = [decision for batch in later.values() for decision in batch]
    return [*begins, *others, *(rest[start : start + LIMIT] for start in range(0, len(rest), LIMIT))]


def _stopping(batches: Iterable[Batch]) -> set[tuple[str, str | None]]:
    """Return what these decisions stop: executions, or single VMs of them."""
    events = (one.event for batch in batches for one in batch)
    return {(event.execution_id, event.context_id) for event in events if isinstance(event, FlowCancelling)}


def _withdrawn(state: State) -> list[Batch]:
    """Return that requests are abandoned which wait for the wrong workers: new ones follow."""
    assert state.time is not None
    batches: list[Batch] = []
    for backup_id, misplaced in state.misplaced.items():
        execution = state.executions[misplaced.execution_id]
        which, request = execution.backup(execution.in_flight[backup_id]), execution.requests[backup_id].sequence
        event = BackupAbandoned.of(which, request=request)
        batches.append([Decision(event=event, time=state.time, cause=misplaced.cause)])
    return batches


def _new_requests(state: State) -> list[Batch]:
    """Return new requests for backups whose last request was abandoned."""
    assert state.time is not None
    time = state.time

    def new_request(backup_id: str) -> Batch:
        abandoned = state.abandoned[backup_id]
        execution = state.executions[abandoned.execution_id]
        if execution.stopping and backup_id not in execution.begun:
            return []  # it ends without any worker
        event = _request(state.catalogue, execution, execution.in_flight[backup_id], time)
        return [Decision(event=event, time=time, cause=abandoned.cause)]

    decided = state.set_aside.decide(
        state.abandoned, new_request, sequence=lambda id_: state.executions[state.abandoned[id_].execution_id].sequence
    )
    requests = [request for batch in decided for request in batch]
    return [requests[start : start + LIMIT] for start in range(0, len(requests), LIMIT)]


def _requests(state: State, begun: Sequence[Execution], stopping: set[tuple[str, str | None]]) -> dict[str, Batch]:
    """Admit waiting backups, and return their requests by execution.

    `begun`: executions that begin with this decision. `stopping`: those (or single VMs of them) that it stops.
    """
    assert state.time is not None
    time = state.time
    executions = [*state.executions.values(), *begun]
    by_id = {execution.started.execution_id: execution for execution in executions}

    def of_repository(repository_id: str) -> int | None:
        repository = state.catalogue.repositories.get(repository_id)
        return repository.max_concurrent_jobs if repository else None

    each = partial(state.set_aside.decide, sequence=attrgetter("sequence"))
    claims = [claim for claim in each(executions, lambda one: one.claim(stopping)) if claim]
    limits = Limits(of_repository=of_repository, total=state.catalogue.settings.max_concurrent_jobs)

    def request(one: tuple[Execution, PlannedBackup]) -> tuple[Execution, Decision]:
        execution, backup = one
        event = _request(state.catalogue, execution, backup, time)
        return execution, Decision(event=event, time=time, cause=execution.cause)

    requests: dict[str, Batch] = {}
    chosen = admit(claims, state.in_flight, limits, most=10 * LIMIT)
    admitted = [(by_id[claim.execution_id], backup) for claim, backup in chosen]
    for execution, decision in state.set_aside.decide(admitted, request, sequence=lambda one: one[0].sequence):
        requests.setdefault(execution.started.execution_id, []).append(decision)
    return requests


def _request(
    catalogue: Catalogue, execution: Execution, backup: PlannedBackup, time: datetime
) -> BackupRequested | BackupSkipped:
    """Return the request for one backup, or its skip when a definition that it needs was deleted or disabled."""
    started = execution.started
    vm = catalogue.vms.get(backup.context_id)
    repository = catalogue.repositories.get(started.repository_id)
    policy = catalogue.policies.get(started.policy_id) if started.policy_id else None
    if vm is None or repository is None or (started.policy_id and policy is None):
        gone = (("VM", vm), ("repository", repository), ("policy", policy or not started.policy_id))
        return skipped(execution, backup, _meanwhile("deleted", (name for name, it in gone if not it)))
    if not vm.enabled or not repository.enabled:
        off = (("VM", vm.enabled), ("repository", repository.enabled))
        return skipped(execution, backup, _meanwhile("disabled", (name for name, it in off if not it)))
    try:
        required = together(vm.worker_labels, repository.worker_labels)
    except Contradiction as found:
        return skipped(execution, backup, contradiction(vm.vm_name, repository.name, found))
    last = execution.requests.get(backup.backup_id)
    return BackupRequested.of(
        execution.backup(backup),
        vm_name=vm.vm_name,
        disks=vm.disks,
        repository_id=repository.id,
        engine=repository.type,
        location=repository.location,
        config=repository.config,
        backup_type=policy.backup_type if policy else "auto",
        retry_attempts=policy.retry_attempts if policy else 0,
        retry_delay_seconds=policy.retry_delay_seconds if policy else 30,
        timeout_seconds=policy.timeout_seconds if policy else None,
        requested_at=last.requested_at if last else time,  # all attempts at a backup bear the same time
        round=last.round + 1 if last else 1,
        disk_roots=catalogue.settings.disk_roots,
        repository_roots=catalogue.settings.repository_roots,
        block_devices=catalogue.settings.block_devices,
        pool=pool_of(required),
        worker_labels=required,
    )


def _meanwhile(what: str, names: Iterable[str]) -> str:
    return f"{' and '.join(f'the {name}' for name in names)} was {what} while the execution ran"
