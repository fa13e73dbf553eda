"""All situations, from all of their modules."""

from __future__ import annotations

from tests.services.explanation.played import SITUATIONS
from tests.services.explanation.situations import absent, backups, due, skipped, stopped

MODULES = (absent, backups, due, skipped, stopped)  # each adds its own

__all__ = ["SITUATIONS"]
