"""Importing the engines that are registered."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from services.worker.engines.engine import Engine
from services.worker.engines.registration import ENGINES, Registration


def load(own: Sequence[str] = ()) -> dict[str, Engine]:
    """Return every registered engine by its name, imported and made. `own`: folders and files that are no disks."""
    return {name: _made(registration, own) for name, registration in ENGINES.items()}


def _made(registration: Registration, own: Sequence[str]) -> Engine:
    module, _, attribute = registration.engine.partition(":")
    arguments = [own] if registration.rules.on_disk else []
    engine: Engine = getattr(import_module(module), attribute)(*arguments)
    return engine
