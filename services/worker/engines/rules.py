"""What an engine says of the repositories it works on, without being imported. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from schemas.base import Value
from schemas.definitions import Setting

Config = Mapping[str, Setting]


class Invalid(Value, frozen=True, kw_only=True):
    """A field of a repository that is wrong, e.g. `config.seconds`, and how. Never with a setting's value in it."""

    field: str
    reason: str


class Validate(Protocol):
    """Returns what is wrong with a repository's location or settings, None when nothing is."""

    def __call__(self, location: str, config: Config) -> Invalid | None: ...


class Rules(Value, frozen=True, kw_only=True):
    """An engine's rules.

    `on_disk`: a repository is a folder, and its space that of the file system there. `incremental`: it can leave out
    what an earlier backup has; else each is a full copy.
    """

    validate: Validate
    on_disk: bool
    incremental: bool = False
