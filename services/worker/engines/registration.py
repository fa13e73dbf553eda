"""Which engines there are: a line for each. Pure: an engine itself is imported by a worker alone, when it starts."""

from __future__ import annotations

from schemas.base import Value
from services.worker.engines.directory import rules as directory
from services.worker.engines.rules import Config, Invalid, Rules
from services.worker.engines.simulated import rules as simulated


class Registration(Value, frozen=True, kw_only=True):
    """An engine: its rules, and where it is (`module:attribute`): a class to be called without arguments.

    One whose repositories are on disk is given the folders and files of the engine itself: those are nobody's disk.
    """

    rules: Rules
    engine: str


ENGINES: dict[str, Registration] = {
    "directory": Registration(rules=directory.RULES, engine="services.worker.engines.directory.engine:DirectoryEngine"),
    "simulated": Registration(rules=simulated.RULES, engine="services.worker.engines.simulated.engine:SimulatedEngine"),
}


def on_disk(engine: str) -> bool:
    """Tell whether an engine's repositories are folders."""
    registration = ENGINES.get(engine)
    return registration is not None and registration.rules.on_disk


def validate(engine: str, location: str, config: Config) -> Invalid | None:
    """Return what is wrong with a repository of an engine, None when nothing is."""
    registration = ENGINES.get(engine)
    if registration is None:
        return Invalid(field="type", reason=f"it must be one of {', '.join(ENGINES)}")
    return registration.rules.validate(location, config)
