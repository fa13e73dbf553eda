"""Engines: each backs up one VM into one kind of repository, behind one small protocol."""

from __future__ import annotations

from services.worker.engines.directory import DirectoryEngine
from services.worker.engines.engine import Engine
from services.worker.engines.simulated import SimulatedEngine

ENGINES: dict[str, Engine] = {"directory": DirectoryEngine(), "simulated": SimulatedEngine()}
