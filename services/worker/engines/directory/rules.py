"""What a repository of the directory engine must be. Pure."""

from __future__ import annotations

from services.worker.engines.rules import Config, Invalid, Rules


def validate(location: str, config: Config) -> Invalid | None:
    """Return what is wrong with a folder's path. Settings mean nothing to this engine."""
    del config
    if not location.startswith("/"):
        return Invalid(field="location", reason=f"the folder {location!r} is not an absolute path")
    return None


RULES = Rules(validate=validate, on_disk=True)
