"""Commands, run as people do."""

from __future__ import annotations

import os
import subprocess

from tests.running import FLOWS, ROOT


def flows(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    settings = {**{name: value for name, value in os.environ.items() if not name.startswith("FLOWS_")}, **(env or {})}
    return subprocess.run([*FLOWS, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, env=settings)
