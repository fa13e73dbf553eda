"""The logs that the contract is about."""

from __future__ import annotations

from tests.simulation.backends import backend

__all__ = ["backend"]
