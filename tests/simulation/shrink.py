"""Shrinking: the smallest scenario that still breaks the same promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import structs

from tests.simulation.run import run
from tests.simulation.scenario import Scenario, limited

MOST = 400  # runs


def shrink(scenario: Scenario, rule: str, fails: Callable[[Scenario], set[str]] | None = None) -> Scenario:
    """Return a smaller scenario that breaks the same promise: fewer faults, requests, replicas, minutes."""
    fails = fails or (lambda one: run(one).rules)
    runs = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(scenario):
            runs += 1
            if runs > MOST:
                return scenario
            if rule in fails(candidate):
                scenario, smaller = candidate, True
                break
    return scenario


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Yield scenarios with a little less in them, the greatest steps first."""
    change = structs.replace
    if len(scenario.requests) > 1:
        yield change(scenario, requests=())
    for number in range(len(scenario.faults)):
        yield change(scenario, faults=scenario.faults[:number] + scenario.faults[number + 1 :])
    for number, request in enumerate(scenario.requests):
        rest = scenario.requests[:number], scenario.requests[number + 1 :]
        yield change(scenario, requests=rest[0] + rest[1])
        if request.again:
            yield change(scenario, requests=(*rest[0], change(request, again=request.again[1:]), *rest[1]))
    for kind, count in scenario.replicas.items():
        if count > 1:
            yield change(scenario, replicas={**scenario.replicas, kind: count - 1})
    if scenario.skews:
        yield change(scenario, skews={})
    if (unlimited := limited(scenario.definitions, None)) != scenario.definitions:
        yield change(scenario, definitions=unlimited)
    last = max(
        [
            0.0,
            *(one.at for one in scenario.requests),
            *(one.at or 0.0 for one in scenario.faults if one.message is None),
        ]
    )
    for seconds in (scenario.seconds / 2, scenario.seconds - 60):
        if seconds >= max(60.0, last):
            yield change(scenario, seconds=seconds)
    for number in range(len(scenario.definitions) - 1, -1, -1):
        if type(scenario.definitions[number]).__name__ == "FlowDefined":
            rest_ = scenario.definitions[:number] + scenario.definitions[number + 1 :]
            yield change(scenario, definitions=rest_)
