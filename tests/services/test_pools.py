"""Pools: which there are, by the requests on the log, and which queues a worker takes from."""

from __future__ import annotations

from datetime import timedelta

from bus.checkpoint import Status
from bus.envelope import Unreadable
from schemas.labels import pool_of
from services.pools import IDLE, Pools, queues_for
from tests.services.worker.support import request
from tests.support import T0, sent, stored

A, A_FAST, B = {"site": "a"}, {"site": "a", "tier": "fast"}, {"site": "b"}


def told(*labels: dict[str, str]) -> Pools:
    pools = Pools()
    for number, required in enumerate(labels, start=1):
        one = request(pool=pool_of(required), worker_labels=required)
        pools.evolve(stored(sent(one, time=T0), number))
    return pools


def names(labels: dict[str, str], *there: dict[str, str]) -> list[str]:
    return [queue.name for queue in queues_for(Status(value=told(*there).published(), at=T0), labels)]


def test_each_set_of_labels_that_is_required_is_one_pool() -> None:
    assert told({}).known == {}
    pools = told(A, B, A)
    assert [(one.labels, one.last) for one in pools.known.values()] == [(A, 3), (B, 2)]


def test_a_worker_takes_what_requires_no_more_than_it_has() -> None:
    there = (A, B, A_FAST)
    assert names({}, *there) == ["worker"]
    assert names(A, *there) == ["worker", f"worker-{pool_of(A)}"]
    assert set(names({**A_FAST, "more": "x"}, *there)) == {
        "worker",
        f"worker-{pool_of(A)}",
        f"worker-{pool_of(A_FAST)}",
    }


def test_without_a_status_that_can_be_read_it_takes_what_any_worker_may() -> None:
    assert [queue.name for queue in queues_for(None, A)] == ["worker"]
    assert [queue.name for queue in queues_for(Status(value={"x": 1}, at=T0), A)] == ["worker"]


def test_a_pool_is_idle_for_long_before_it_goes_and_not_when_it_is_used_again() -> None:
    pools = told(A)
    assert pools.idle(T0 + IDLE) == {}
    ((id_, pool),) = pools.idle(T0 + IDLE + timedelta(seconds=1)).items()
    pools.evolve(stored(sent(request(pool=id_, worker_labels=A), time=T0), 9))
    assert not pools.forget(id_, pool), "there was a request since"
    assert pools.forget(id_, pools.known[id_])
    assert pools.known == {}


def test_what_cannot_be_read_is_no_pool() -> None:
    entry = Unreadable(sequence=1, subject="backup.requested.f.p", stored_at=T0, body=b"", error="no")
    assert not Pools().evolve(entry)
