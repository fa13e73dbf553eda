"""One run of a scenario, checked."""

from __future__ import annotations

from hashlib import sha256

from schemas.base import Value
from tests.simulation.checker import check
from tests.simulation.history import Violation
from tests.simulation.scenario import Scenario
from tests.simulation.sql import differences
from tests.simulation.story import story
from tests.simulation.world import World

IN_SQL = 20  # one in so many seeds is projected into real tables too


class Result(Value, frozen=True, kw_only=True):
    """What came of a run. Two runs with the same `fingerprint` had the same history, byte for byte."""

    seed: int
    schedule: int
    violations: list[Violation]
    messages: int
    turns: int
    fingerprint: str

    @property
    def rules(self) -> set[str]:
        return {violation.rule for violation in self.violations}


def run(scenario: Scenario) -> Result:
    """Run a scenario and check what came of it."""
    world = World(scenario)
    world.run()
    violations = check(world)
    if scenario.seed % IN_SQL == 0 and not violations:
        violations = [Violation(rule="sql", text=text) for text in differences(world.entries)]
    return Result(
        seed=scenario.seed,
        schedule=scenario.schedule,
        violations=violations,
        messages=len(world.entries),
        turns=world.turns,
        fingerprint=fingerprint(world),
    )


def fingerprint(world: World) -> str:
    """Return a digest of all that happened in a world."""
    digest = sha256()
    for entry in world.entries:
        digest.update(f"{entry.sequence} {entry.subject} {entry.stored_at} ".encode() + entry.body)
    for note in world.notes:
        digest.update(f"{note.at} {note.text}".encode())
    return digest.hexdigest()[:16]


def story_of(scenario: Scenario) -> list[str]:
    """Return the story of a run as lines, with what was wrong at its end."""
    world = World(scenario)
    world.run()
    wrong = [f"!!!!  {violation}" for violation in check(world)]
    return [*story(world), *wrong]
