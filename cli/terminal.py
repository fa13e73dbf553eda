"""What commands run on: the fastest loop there is, and the terminal that they print on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from rich.console import Console

T = TypeVar("T")

out = Console()
err = Console(stderr=True)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, and return what it returns."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)
