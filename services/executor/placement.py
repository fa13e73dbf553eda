"""Which requests wait for other workers than those that may serve them: labels have changed since. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.base import Value
from schemas.definitions import Repository, Vm
from schemas.events import RepositoryDefined, VmDefined
from schemas.labels import Contradiction, pool_of, together
from services.catalogue import Catalogue
from services.executor.execution import Execution

_NOBODY = ""  # no pool: labels contradict each other


class MisplacedRequest(Value, frozen=True, kw_only=True):
    """That a backup's newest request waits for the wrong workers. `cause`: id of the message since which it does."""

    execution_id: str
    cause: str


def touched(execution: Execution, event: VmDefined | RepositoryDefined) -> Iterator[str]:
    """Yield the backups in flight whose VM or repository is defined anew."""
    if isinstance(event, RepositoryDefined):
        if event.id == execution.started.repository_id:
            yield from execution.requests
        return
    yield from (one for one in execution.requests if execution.in_flight[one].context_id == event.id)


def is_misplaced(catalogue: Catalogue, execution: Execution, backup_id: str) -> bool:
    """Tell whether the request of a backup waits for the wrong workers. One that a worker is at work on does not."""
    request, backup = execution.requests[backup_id], execution.in_flight[backup_id]
    vm = catalogue.vms.get(backup.context_id)
    repository = catalogue.repositories.get(execution.started.repository_id)
    waits = backup_id not in execution.begun or request.delay > 0
    return waits and vm is not None and repository is not None and _pool(vm, repository) != request.pool


def _pool(vm: Vm, repository: Repository) -> str | None:
    try:
        return pool_of(together(vm.worker_labels, repository.worker_labels))
    except Contradiction:
        return _NOBODY
