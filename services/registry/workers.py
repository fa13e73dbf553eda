"""What a command changes in the workers that are enrolled, or may be. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from datetime import datetime

from msgspec import structs

from schemas import commands as c
from schemas.events import WorkerDefined
from schemas.ids import instant
from schemas.workers import Worker, WorkerSpec
from services.catalogue import Catalogue
from services.registry.checks import Refusal

ANOTHER = "ask an administrator for another one (`flows worker token create`, with another name)"


def changed(
    catalogue: Catalogue, command: c.CreateWorker | c.EnrolWorker | c.RevokeWorker, actor: str, time: datetime
) -> WorkerDefined:
    """Return a worker as it is from here on. Raises `Refusal`."""
    current = catalogue.workers.get(command.id)
    if isinstance(command, c.CreateWorker):
        if refusals := list(_refusals(catalogue, command.id, command.spec, time)):
            raise Refusal.of(refusals)
        born = Worker(**structs.asdict(command.spec), id=command.id, version=1, created_at=time, created_by=actor)
        return _defined(born)
    if current is None:
        raise Refusal("not_found", f"there is no worker {command.id!r}")
    if isinstance(command, c.EnrolWorker):
        return _defined(_enrolled(current, command, time))
    if current.revoked_at is None:
        current = structs.replace(current, version=current.version + 1, revoked_at=time, revoked_by=actor)
    return _defined(current)


def _enrolled(current: Worker, command: c.EnrolWorker, time: datetime) -> Worker:
    """Return a worker with the identity that it has made. The same request again is answered as the first one was."""
    if not hmac.compare_digest(command.token_digest, current.token_digest):
        raise Refusal("conflict", "the one-time token is wrong", "token")
    if current.revoked_at is not None:
        raise Refusal("conflict", f"worker {current.name!r} was revoked at {instant(current.revoked_at)}: {ANOTHER}")
    if current.enrolled_at is not None and current.digest is not None:
        if hmac.compare_digest(command.digest, current.digest):
            return current
        at = instant(current.enrolled_at)
        reason = (
            f"the one-time token of worker {current.name!r} was used at {at}, and is good once: if that was not you, "
            f"have the worker revoked (`flows worker revoke {current.name}`), and {ANOTHER}"
        )
        raise Refusal("conflict", reason, "token")
    if current.expires_at <= time:
        at = instant(current.expires_at)
        raise Refusal("conflict", f"the one-time token of worker {current.name!r} expired at {at}: {ANOTHER}", "token")
    return structs.replace(current, version=current.version + 1, digest=command.digest, enrolled_at=time)


def _refusals(catalogue: Catalogue, id_: str, spec: WorkerSpec, time: datetime) -> Iterator[Refusal]:
    """Yield what is wrong with a new worker. A name is never used twice: the log knows what it did by that."""
    if id_ != spec.name:
        yield Refusal("invalid", f"the id of worker {spec.name!r} is its name, not {id_!r}", "id")
    name = spec.name.casefold()
    if namesake := next((one for one in catalogue.workers.values() if one.name.casefold() == name), None):
        been = "was revoked" if namesake.revoked_at else "exists"
        reason = f"a worker {namesake.name!r} {been}, and the log knows it by that name: choose another"
        yield Refusal("conflict", reason, "name")
    if any(one.token_digest == spec.token_digest for one in catalogue.workers.values()):
        yield Refusal("conflict", "there is a worker with this token already", "token_digest")
    if spec.expires_at <= time:
        yield Refusal("invalid", f"{instant(spec.expires_at)} has passed already", "expires_at")


def _defined(worker: Worker) -> WorkerDefined:
    return WorkerDefined(id=worker.id, version=worker.version, definition=worker)
