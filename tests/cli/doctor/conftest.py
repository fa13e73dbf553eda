"""A log, tables and services on them, and a doctor who does not wait long."""

from __future__ import annotations

import pytest

from cli.doctor import checks
from tests.services.conftest import engine

__all__ = ["engine"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PATIENCE", 1.0)
