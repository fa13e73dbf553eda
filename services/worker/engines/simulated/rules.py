"""What a repository of the simulated engine must be; its location means nothing. Pure."""

from __future__ import annotations

from services.worker.engines.rules import Config, Invalid, Rules

HIGHEST = {"seconds": 1e9, "bytes": 2.0**62, "failure_rate": 1.0}


def validate(location: str, config: Config) -> Invalid | None:
    """Return what is wrong with the settings: each but the seed is a number from 0."""
    del location
    for key, highest in HIGHEST.items():
        value = config.get(key, 0)
        if isinstance(value, str) or not 0 <= value <= highest:
            return Invalid(field=f"config.{key}", reason=f"it must be a number from 0 to {highest:,.0f}")
    return None


RULES = Rules(validate=validate, on_disk=False)
