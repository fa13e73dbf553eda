"""Where golden histories are, and how they are read."""

from __future__ import annotations

from pathlib import Path

from bus import history
from bus.envelope import Stored

FOLDER = Path(__file__).parent


def load(file: Path) -> list[Stored]:
    """Return a history. Every message of an old one must be readable for ever."""
    with file.open("rb") as lines:
        entries = list(history.load(lines))
    for entry in entries:
        assert isinstance(entry, Stored), f"{file.name}: message {entry.sequence} is unreadable: {entry.error}"
    return entries  # type: ignore[return-value]
