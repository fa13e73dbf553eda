"""Who may serve a flow: what a dry run says of workers that are not there."""

from __future__ import annotations

from typing import Any

import pytest

from api.workers import TOLD, lacking
from services.catalogue import Catalogue
from services.executor.starting import preview
from services.worker.status import WorkerStatus
from tests.support import flow, group, repository, vm

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
