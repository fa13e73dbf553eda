"""`python -m tests.simulation SEEDS [--from N] [--schedules 3] [--show SEED]`: run seeds, shrink what fails."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial

from msgspec import structs

from tests.simulation.defects import DEFECTS
from tests.simulation.run import Result, run, story_of
from tests.simulation.scenario import scenario
from tests.simulation.shrink import shrink

SHOWN = 3  # failing seeds that are shrunk and told
PROGRESS = 5.0  # seconds


def main() -> int:
    if os.environ.get("PYTHONHASHSEED") != "0":
        # the order of a set of strings is the interpreter's, unless it is told
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", type=int, nargs="?", default=1000, help="how many scenarios")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--schedules", type=int, default=1, help="interleavings of each scenario")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes")
    parser.add_argument("--show", type=int, help="tell one seed, shrunk if it fails")
    parser.add_argument("--schedule", type=int, default=0, help="with --show: which interleaving")
    parser.add_argument("--unshrunk", action="store_true", help="do not shrink what fails")
    parser.add_argument("--digest", action="store_true", help="print a digest of each history, and nothing else")
    parser.add_argument("--defect", choices=sorted(DEFECTS), help="with a defect put back in")
    given = parser.parse_args()
    with ExitStack() as stack:
        if given.defect:
            stack.enter_context(DEFECTS[given.defect].restored())
        if given.show is not None:
            return _show(given.show, given.schedule, shrunk=not given.unshrunk)
        if given.digest:
            return _digests(given.seeds, given.first, given.schedules, given.jobs)
        return _run(given.seeds, given.first, given.schedules, given.jobs, told=0 if given.unshrunk else SHOWN)


def _one(schedules: int, number: int) -> Result:
    return run(scenario(number // schedules, number % schedules))


def _digests(seeds: int, first: int, schedules: int, jobs: int) -> int:
    numbers = range(first * schedules, (first + seeds) * schedules)
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=16) as pool:
        for result in pool.imap(partial(_one, schedules), numbers):
            print(result.seed, result.schedule, result.messages, result.turns, result.fingerprint)
    return 0


def _run(seeds: int, first: int, schedules: int, jobs: int, *, told: int) -> int:
    """Run seeds over processes, and say how it goes."""
    began = said = time.monotonic()
    failed: list[Result] = []
    messages = turns = done = 0
    numbers = range(first * schedules, (first + seeds) * schedules)
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=16) as pool:
        for result in pool.imap_unordered(partial(_one, schedules), numbers, chunksize=8):
            done += 1
            messages += result.messages
            turns += result.turns
            if result.violations:
                failed.append(result)
                print(f"seed {result.seed} (schedule {result.schedule}): {result.violations[0]}", flush=True)
            if time.monotonic() - said > PROGRESS:
                said = time.monotonic()
                print(f"  {done:,} of {len(numbers):,}, {done / (said - began) * 60:,.0f} a minute", flush=True)
    seconds = time.monotonic() - began
    print(
        f"{seeds:,} seeds, {done:,} interleavings in {seconds:.1f} s: {done / seconds * 60:,.0f} a minute, "
        f"{messages / done:,.0f} messages and {turns / done:,.0f} callbacks each; {len(failed):,} failed"
    )
    for rule, count in Counter(rule for result in failed for rule in result.rules).most_common():
        print(f"  {count:6,}  {rule}")
    for result in sorted(failed, key=lambda one: (one.seed, one.schedule))[:told]:
        _show(result.seed, result.schedule, shrunk=True)
    return 1 if failed else 0


def _show(seed: int, schedule: int, *, shrunk: bool) -> int:
    """Tell a seed's story; of one that fails, the smallest that fails in the same way."""
    given = scenario(seed, schedule)
    violations = run(given).violations
    rules = {violation.rule for violation in violations}
    if violations and shrunk:
        given = shrink(given, violations[0].rule)
    print(f"\n=== seed {seed}, schedule {schedule}: {', '.join(sorted(rules)) or 'all promises are kept'}")
    shown = structs.asdict(structs.replace(given, definitions=(), requests=(), faults=()))
    print("   ", {key: value for key, value in shown.items() if value})
    for part in (*given.requests, *given.faults):
        fields = structs.asdict(part)
        print("   ", type(part).__name__.lower(), {key: value for key, value in fields.items() if value})
    for line in story_of(given):
        print(line)
    return 1 if rules else 0


if __name__ == "__main__":
    sys.exit(main())
