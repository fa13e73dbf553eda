"""`flows policy`."""

from __future__ import annotations

from cli import shown
from cli.definitions import Found, Kind
from cli.nouns import POLICY

_KEPT = ("last", "daily", "weekly", "monthly", "yearly")


def _kept(found: Found) -> str:
    """Return which backups are kept: `7 daily, 4 weekly`."""
    kept = [f"{found[f'keep_{name}']} {name}" for name in _KEPT if found[f"keep_{name}"] is not None]
    return ", ".join(kept) or shown.NOTHING


policy = Kind(
    POLICY,
    (
        ("STATUS", lambda found: shown.switch(found["enabled"])),
        ("BACKUP", lambda found: found["backup_type"]),
        ("KEEP", _kept),
        ("RETRIES", lambda found: str(found["retry_attempts"])),
        ("TIME-OUT", lambda found: shown.duration(found["timeout_seconds"])),
    ),
).group()
