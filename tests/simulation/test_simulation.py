"""The simulator in the suite: some hundred seeds, the same history for the same seed, and every defect of the past."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.defects import DEFECTS
from tests.simulation.run import run
from tests.simulation.scenario import scenario

ROOT = Path(__file__).parents[2]
SEEDS = 250
FEW = 20


def simulate(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    """Run the simulator in an interpreter of its own, where the order of a set of strings is always the same."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=300, check=False)


def test_every_promise_is_kept_on_a_few_seeds() -> None:
    for seed in range(FEW):
        assert run(scenario(seed)).violations == [], f"python -m tests.simulation --show {seed}"


@pytest.mark.server
@pytest.mark.timeout(300)
def test_every_promise_is_kept_on_some_hundred_seeds() -> None:
    outcome = simulate(str(SEEDS), "--jobs", "1")
    assert outcome.returncode == 0, outcome.stdout[-6000:] + outcome.stderr[-2000:]
    assert f"{SEEDS} seeds, {SEEDS} interleavings" in outcome.stdout


@pytest.mark.server
def test_the_same_seed_is_the_same_history_byte_for_byte() -> None:
    # the second one is told another hash seed, and starts itself again with the one that counts
    one, other = (simulate("40", "--jobs", "2", "--digest", hash_seed=seed).stdout for seed in ("0", "123"))
    assert one.count("\n") == 40
    assert one == other


@pytest.mark.server
@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_a_defect_that_is_put_back_is_seen(name: str) -> None:
    defect = DEFECTS[name]
    for seed in defect.seeds:
        one = ("1", "--from", str(seed), "--jobs", "1", "--unshrunk")
        broken = simulate(*one, "--defect", name)
        if any(f"  {rule}\n" in broken.stdout for rule in defect.rules):
            assert simulate(*one).returncode == 0, "it is seen without the defect too"
            return
    raise AssertionError(f"{name} is not seen any more: python -m tests.simulation 2000 --defect {name} --unshrunk")
