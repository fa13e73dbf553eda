"""Importing the engines that are registered."""

from __future__ import annotations

from importlib import import_module

from services.worker.engines.engine import Engine
from services.worker.engines.registration import ENGINES


def load() -> dict[str, Engine]:
    """Return every registered engine by its name, imported and made."""
    return {name: _made(registration.engine) for name, registration in ENGINES.items()}


def _made(place: str) -> Engine:
    module, _, attribute = place.partition(":")
    engine: Engine = getattr(import_module(module), attribute)()
    return engine
