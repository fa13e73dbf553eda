"""Which workers are there, and who may serve a flow: what a dry run says of those that are not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from api.workers import TOLD, lacking, present
from bus.checkpoint import Status
from services import health
from services.catalogue import Catalogue
from services.executor.starting import preview
from services.health import GONE, SILENCE, Heartbeat
from services.worker.status import WorkerStatus, key_of
from tests.support import T0, flow, group, repository, vm

A = {"site": "a"}


def worker(*engines: str, **labels: str) -> WorkerStatus:
    return WorkerStatus(slots=1, holding=[], engines=list(engines) or ["simulated"], position=0, labels=labels)


def said(workers: list[WorkerStatus] | None, vms: int = 2, **labels: Any) -> list[str]:
    """Return what is said of a flow; the first VM requires `first`, its repository `repository`."""
    catalogue = Catalogue()
    names = [f"vm-{number}" for number in range(vms)]
    for number, name in enumerate(names):
        catalogue.evolve(vm(name, worker_labels={} if number else labels.get("first", {})))
    for event in (group(members=names), repository(worker_labels=labels.get("repository", {})), flow()):
        catalogue.evolve(event)
    one = catalogue.flows["flow-1"]
    return lacking(catalogue, one, preview(catalogue, one), workers)


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (None, []),
        ([worker(site="a")], []),
        ([], ["there is no worker for site=a: what needs one would wait"]),
        ([worker(site="b"), worker()], ["there is no worker for site=a: what needs one would wait"]),
        (
            [worker("restic", site="a"), worker()],
            ["no worker for site=a has the engine 'simulated': what needs it would wait"],
        ),
    ],
)
def test_it_is_said_once_which_workers_are_not_there(workers: list[WorkerStatus] | None, expected: list[str]) -> None:
    assert said(workers, repository=A) == expected


def test_what_no_worker_could_ever_serve_is_said_whoever_is_there() -> None:
    (text,) = said(None, first={"site": "b"}, repository=A)
    assert text.startswith("VM 'VM-0' would be skipped: no worker can have both site=b and site=a")


def test_without_labels_any_worker_will_do() -> None:
    assert said([worker()]) == []
    assert said([]) == ["there is no worker: what needs one would wait"]


def test_not_every_vm_is_told_of() -> None:
    catalogue = Catalogue()
    names = [f"vm-{number}" for number in range(TOLD + 5)]
    for name in names:
        catalogue.evolve(vm(name, worker_labels={"site": name}))
    for event in (group(members=names), repository(worker_labels=A), flow()):
        catalogue.evolve(event)
    one = catalogue.flows["flow-1"]
    found = lacking(catalogue, one, preview(catalogue, one), None)
    assert (len(found), found[-1]) == (TOLD + 1, "and 5 more of this kind")


def published(name: str, status: WorkerStatus, *, silent: timedelta = timedelta()) -> dict[str, Status]:
    return {key_of(name): Status(value=msgspec.to_builtins(status), at=T0 - silent)}


def beating(pid: int, **fields: Any) -> dict[str, Status]:
    """Return the heartbeat of a worker's process on a host with a name that has more than letters."""
    given = {"service": "worker", "instance": f"slot-{pid}", "host": "site a", "pid": pid, "version": "1.2.3"}
    beat = Heartbeat(**given, started_at=T0, position=7, **fields)
    return {health.key_of("worker", beat.instance): Status(value=msgspec.to_builtins(beat), at=T0)}


def test_a_worker_is_shown_with_what_it_says_of_itself_and_how_its_process_is() -> None:
    status = WorkerStatus(slots=4, holding=["b-1"], engines=["simulated"], position=0, labels=A)
    (found,) = present(published("site a-7", status), beating(7, stalled=60.0, lag=5), T0)
    assert msgspec.to_builtins(found) == {
        "name": "site_a-7",
        "enrolment": None,
        "state": "behind",
        "labels": A,
        "engines": ["simulated"],
        "slots": 4,
        "free": 3,
        "holding": 1,
        "version": "1.2.3",
        "last_seen_at": msgspec.to_builtins(T0),
    }


def test_the_heartbeat_of_another_process_says_nothing_of_a_worker() -> None:
    (found,) = present(published("site a-7", worker()), beating(8, stalled=60.0, lag=5), T0)
    assert (found.state, found.version) == ("running", None)


@pytest.mark.parametrize(
    ("slots", "beats", "silent", "states"),
    [
        (1, True, timedelta(), ["running"]),
        (1, False, SILENCE, ["running"]),
        (1, False, GONE, ["hung"]),
        (1, False, GONE + timedelta(seconds=1), []),
        (0, True, timedelta(), ["stopping"]),
        (0, False, timedelta(), []),  # it has taken its leave
    ],
)
def test_a_worker_is_there_until_it_has_left_or_been_silent_for_long(
    slots: int, beats: bool, silent: timedelta, states: list[str]
) -> None:
    status = WorkerStatus(slots=slots, holding=[], engines=[], position=0)
    found = present(published("site a-7", status, silent=silent), beating(7) if beats else {}, T0)
    assert [one.state for one in found] == states


def test_what_another_version_has_published_is_passed_over() -> None:
    assert present({"worker.x": Status(value={"new": 1}, at=T0)}, {}, T0) == []
