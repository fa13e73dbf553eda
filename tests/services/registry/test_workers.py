"""The registry on workers: each is enrolled once, by the token that it was made for, and revoked for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs

from schemas import commands as c
from schemas.events import Rejected, WorkerDefined
from schemas.tokens import digest_of
from schemas.workers import Worker
from services.catalogue import Catalogue
from services.registry.changes import changes
from services.registry.domain import State, decide, evolve
from tests.support import T0, sent, stored
from tests.workers import spec_of, token, worker

LATER = T0 + timedelta(minutes=30)
TOKEN = digest_of(token("rack-1"))
MINE, ANOTHER = digest_of("mine"), digest_of("another")


def house(*events: WorkerDefined) -> Catalogue:
    found = Catalogue()
    for event in events:
        found.evolve(event)
    return found


def outcome(catalogue: Catalogue, command: c.Command, *, minutes: int = 30) -> Any:
    found = changes(catalogue, command, actor="eve", time=T0 + timedelta(minutes=minutes))
    if isinstance(found, Rejected):
        return found
    (event,) = found
    catalogue.evolve(event)
    return event.definition


def create(catalogue: Catalogue, name: str = "rack-2", id_: str | None = None, **given: Any) -> Any:
    spec = structs.replace(spec_of(made(name)), **given)
    return outcome(catalogue, c.CreateWorker(id=id_ or name, spec=spec))


def made(name: str) -> Worker:
    definition = worker(name, labels={"site": "a"}).definition
    assert definition
    return definition


def enrol(digest: str = MINE, *, token_digest: str = TOKEN) -> c.EnrolWorker:
    return c.EnrolWorker(id="rack-1", token_digest=token_digest, digest=digest)


def test_a_worker_is_created_and_waits() -> None:
    found = create(house())
    assert (found.id, found.name, found.labels, found.version) == ("rack-2", "rack-2", {"site": "a"}, 1)
    assert (found.created_by, found.created_at, found.digest, found.enrolled_at) == ("eve", LATER, None, None)


@pytest.mark.parametrize(
    ("name", "given", "code", "field", "reason"),
    [
        ("rack-1", {}, "conflict", "name", "a worker 'rack-1' exists, and the log knows it by that name"),
        ("RACK-1", {}, "conflict", "name", "a worker 'rack-1' exists"),
        ("gone", {}, "conflict", "name", "a worker 'gone' was revoked"),
        ("rack-2", {"id_": "rack-3"}, "invalid", "id", "its name, not 'rack-3'"),
        ("rack-2", {"token_digest": TOKEN}, "conflict", "token_digest", "a worker with this token"),
        ("rack-2", {"expires_at": LATER}, "invalid", "expires_at", "has passed already"),
    ],
)
def test_what_is_wrong_with_a_new_one(name: str, given: dict[str, Any], code: str, field: str, reason: str) -> None:
    there = house(worker(), worker("gone", revoked_at=T0, revoked_by="admin"))
    refused = create(there, name, **given)
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.field) == (code, field)
    assert reason in refused.reason


def test_a_token_enrols_once_and_the_same_request_again_changes_nothing() -> None:
    there = house(worker(labels={"site": "a"}))
    first = outcome(there, enrol())
    assert (first.version, first.digest, first.enrolled_at, first.labels) == (2, MINE, LATER, {"site": "a"})
    assert outcome(there, enrol(), minutes=600) == first, "the token has expired, and it is the same request"
    refused = outcome(there, enrol(ANOTHER))
    assert (refused.code, refused.field) == ("conflict", "token")
    assert "was used at 2026-" in refused.reason
    assert "`flows worker revoke rack-1`" in refused.reason
    assert there.workers["rack-1"] == first


@pytest.mark.parametrize(
    ("given", "command", "code", "reason"),
    [
        ({"expires_at": LATER}, enrol(), "conflict", "the one-time token of worker 'rack-1' expired at "),
        ({}, enrol(token_digest=ANOTHER), "conflict", "the one-time token is wrong"),
        ({"revoked_at": T0, "revoked_by": "admin"}, enrol(), "conflict", "worker 'rack-1' was revoked at "),
        ({"revoked_at": T0, "digest": MINE, "enrolled_at": T0}, enrol(), "conflict", "was revoked at "),
        (
            {"digest": MINE, "enrolled_at": T0},
            enrol(MINE, token_digest=ANOTHER),
            "conflict",
            "the one-time token is wrong",
        ),
    ],
)
def test_who_is_not_enrolled(given: dict[str, Any], command: c.EnrolWorker, code: str, reason: str) -> None:
    there = house(worker(**given))
    before = there.workers["rack-1"]
    refused = outcome(there, command)
    assert isinstance(refused, Rejected)
    assert (refused.code, reason in refused.reason) == (code, True), refused.reason
    assert there.workers["rack-1"] == before
    assert not any(one in refused.reason for one in (TOKEN, MINE, ANOTHER)), "no digest is told"


def test_nobody_enrols_as_a_worker_that_is_not_there() -> None:
    assert outcome(house(), enrol()).code == "not_found"
    assert outcome(house(), c.RevokeWorker(id="rack-1")).code == "not_found"


@pytest.mark.parametrize("digest", [None, MINE])
def test_a_revoked_one_stays_revoked(digest: str | None) -> None:
    there = house(worker(digest=digest, enrolled_at=None if digest is None else T0))
    revoked = outcome(there, c.RevokeWorker(id="rack-1"))
    assert (revoked.revoked_at, revoked.revoked_by, revoked.version) == (LATER, "eve", 2)
    assert outcome(there, c.RevokeWorker(id="rack-1"), minutes=50) == revoked
    assert outcome(there, enrol()).code == "conflict"


def test_two_machines_with_one_token_at_once() -> None:
    """The first on the log is the worker; the second rests on the first, which is not there yet, and is refused."""
    state = State()
    evolve(state, stored(sent(worker(), id="made"), 1))
    for number, digest in enumerate((MINE, ANOTHER), start=2):
        evolve(state, stored(sent(enrol(digest), id=f"command-{number}"), number))
    first, second = (batch[0].event for batch in decide(state))
    assert isinstance(first, WorkerDefined)
    assert first.definition
    assert first.definition.digest == MINE
    assert isinstance(second, Rejected)
    assert "was used at" in second.reason
