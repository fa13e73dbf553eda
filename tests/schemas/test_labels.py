"""Labels of workers: what a backup requires, who fulfils it, and the name of those who do."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.subjects import REQUESTS, guard_at, guard_of, matches, subject_of
from schemas.base import ID_PATTERN
from schemas.definitions import RepositorySpec, VmSpec
from schemas.labels import Contradiction, canonical, fulfils, pool_of, together
from tests.services.worker.support import request

LABELS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xyz"), max_size=4)


def test_a_backup_requires_the_labels_of_its_vm_and_of_its_repository() -> None:
    assert together({}, {}) == {}
    assert together({"site": "a"}, {}) == together({}, {"site": "a"}) == together({"site": "a"}, {"site": "a"})
    assert list(together({"tier": "fast"}, {"site": "a"}).items()) == [("site", "a"), ("tier", "fast")]


def test_two_labels_of_one_key_contradict_each_other() -> None:
    with pytest.raises(Contradiction, match="site=a and site=b"):
        together({"site": "a", "tier": "fast"}, {"site": "b"})


def test_the_same_labels_are_the_same_text_and_the_same_pool() -> None:
    assert canonical({"tier": "fast", "site": "a"}) == "site=a,tier=fast"
    assert canonical({}) == ""
    assert pool_of({}) is None
    pool = pool_of({"tier": "fast", "site": "a"})
    assert pool == pool_of({"site": "a", "tier": "fast"}) != pool_of({"site": "a"})
    assert pool is not None
    assert re.match(ID_PATTERN, pool)


@given(LABELS, LABELS)
def test_different_labels_are_different_pools(one: dict[str, str], other: dict[str, str]) -> None:
    assert (pool_of(one) == pool_of(other)) == (one == other)


@given(LABELS, LABELS, LABELS)
def test_a_worker_serves_what_requires_no_more_than_it_has(
    worker: dict[str, str], vm: dict[str, str], repository: dict[str, str]
) -> None:
    assert fulfils(worker, {})
    try:
        required = together(vm, repository)
    except Contradiction:
        assert not (fulfils(worker, vm) and fulfils(worker, repository)), "nobody can serve it"
    else:
        assert fulfils(worker, required) == (fulfils(worker, vm) and fulfils(worker, repository))


@pytest.mark.parametrize("labels", [{"site": ""}, {"a=b": "c"}, {"site": "a,b"}, {"": "a"}, {"site": "a b"}])
def test_labels_that_could_be_read_in_two_ways_are_none(labels: dict[str, str]) -> None:
    for spec in ({"vm_name": "x"}, {"name": "x", "type": "directory", "location": "/x"}):
        shape = VmSpec if "vm_name" in spec else RepositorySpec
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**spec, "worker_labels": labels}, shape)


def test_the_labels_of_one_thing_are_bounded() -> None:
    many = {f"key-{number}": "x" for number in range(17)}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"vm_name": "x", "worker_labels": many}, VmSpec)


def test_a_request_has_its_pool_in_its_subject_and_one_guard_covers_all() -> None:
    anywhere, somewhere = request(), request(pool="pool-1", worker_labels={"site": "a"})
    assert subject_of(anywhere) == "backup.requested.flow"
    assert subject_of(somewhere) == "backup.requested.flow.pool-1"
    for one in (anywhere, somewhere):
        assert guard_of(one) == guard_at(subject_of(one)) == REQUESTS
        assert matches(REQUESTS, subject_of(one))


def test_a_request_of_an_older_version_is_for_any_worker() -> None:
    old = {
        name: value for name, value in msgspec.to_builtins(request()).items() if name not in {"pool", "worker_labels"}
    }
    read = msgspec.convert(old, type(request()))
    assert (read.pool, read.worker_labels) == (None, {})
