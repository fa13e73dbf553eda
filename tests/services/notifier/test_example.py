"""The receiver in docs/notifications.md does what it says."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.notifier.payload import signature

DOCUMENT = Path(__file__).parents[3] / "docs" / "notifications.md"
KEY = b"the-key"


@pytest.fixture
def accept() -> Callable[[bytes, dict[str, str], bytes], bool]:
    (code,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    space: dict[str, Any] = {}
    exec(code, space)
    found: Callable[[bytes, dict[str, str], bytes], bool] = space["accept"]
    return found


def headers(body: bytes, *, age: int = 0, key: bytes = KEY) -> dict[str, str]:
    stamp = str(int(time.time()) - age)
    return {"Flows-Delivery": "d-1", "Flows-Timestamp": stamp, "Flows-Signature": signature(key, stamp, body)}


def test_it_takes_a_call_once(accept: Callable[[bytes, dict[str, str], bytes], bool]) -> None:
    assert accept(KEY, headers(b"{}"), b"{}")
    assert not accept(KEY, headers(b"{}"), b"{}")


def test_it_refuses_what_is_old_or_another_ones(accept: Callable[[bytes, dict[str, str], bytes], bool]) -> None:
    for given, body in (
        (headers(b"{}", age=301), b"{}"),
        (headers(b"{}", age=-301), b"{}"),
        (headers(b"{}", key=b"another"), b"{}"),
        (headers(b"{}"), b"{ }"),
        (headers(b"{}") | {"Flows-Timestamp": str(int(time.time()) + 1)}, b"{}"),
    ):
        with pytest.raises(ValueError, match=r"signature is wrong|too old"):
            accept(KEY, given, body)
