"""A receiver beside the engine, and a secret in the environment."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.services.notifier.receiver import Receiver, receiving

SECRET = "s3cr3t-of-the-hook-7c1f"


@pytest.fixture(autouse=True)
def hook_key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HOOK_KEY", SECRET)
    return SECRET


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one
