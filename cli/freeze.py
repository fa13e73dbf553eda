"""`flows freeze` and `flows thaw`: no scheduled start anywhere, for a while."""

from __future__ import annotations

from datetime import datetime

from rich.console import Console

from cli.declare import Api


def freeze(api: Api, until: str, reason: str, console: Console) -> None:
    """Begin a freeze. Raises `ValueError` when `until` is no date and time."""
    try:
        at = datetime.fromisoformat(until).astimezone()
    except ValueError:
        raise ValueError(f"--until is {until!r}: a date and time is needed, such as 2026-12-27T06:00") from None
    made = api.call("PUT", "/freeze", json={"until": at.isoformat(), "reason": reason})
    console.print(f"No scheduled start until {made['until']}: {reason}", highlight=False)


def thaw(api: Api, console: Console) -> None:
    """End the freeze. Raises `RuntimeError` when there is none."""
    api.call("DELETE", "/freeze")
    console.print("The freeze has ended: flows start by their schedules again.")
