"""Values as people read them: statuses, times, sizes, durations, and all the fields of one thing. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cli.terminal import Part

NOTHING = "-"
_STYLES = {
    **dict.fromkeys(("success", "enabled", "executed"), "green"),
    **dict.fromkeys(("warning", "missed", "cancelled", "skipped", "disabled"), "yellow"),
    **dict.fromkeys(("running", "queued"), "cyan"),
    "error": "red",
}


def status(word: str | None) -> Part:
    """Return a status in its colour."""
    return (word, _STYLES.get(word, "")) if word else NOTHING


def switch(enabled: bool) -> Part:
    """Return whether something is enabled."""
    return status("enabled" if enabled else "disabled")


def time(text: Any) -> str:
    """Return an instant, as the API has it, to the second: `2026-11-25 02:00:00Z`."""
    return f"{text[:19].replace('T', ' ')}Z" if text else NOTHING


def size(count: int | None) -> str:
    """Return a number of bytes: `1.2 GB`."""
    from rich.filesize import decimal

    return NOTHING if count is None else decimal(count)


def duration(seconds: float | None) -> str:
    """Return how long something took: `0.4 s`, `0:01:05`."""
    if seconds is None:
        return NOTHING
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def plural(count: int, what: str) -> str:
    """Return `1 backup`, `2 backups`, `2 repositories`."""
    many = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count:,} {what if count == 1 else many}"


def value(found: Any) -> str:
    """Return the value of a field."""
    match found:
        case None | "":
            return NOTHING
        case list() | dict() if not found:
            return NOTHING
        case bool():
            return "yes" if found else "no"
        case list():
            return ", ".join(map(value, found))
        case dict():
            return " ".join(f"{name}={value(one)}" for name, one in found.items() if one is not None)
        case _:
            return str(found)


def fields(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each field of one thing, and its value; where a name stands beside an id, the name alone."""
    for name, one in found.items():
        if name.endswith("_id") and f"{name.removesuffix('_id')}_name" in found:
            continue
        title = name.removesuffix("_name").replace("_", " ")
        if isinstance(one, dict) and name == "status":
            yield from fields(one)
        elif isinstance(one, list) and one and isinstance(one[0], dict):
            yield from ((title if number == 0 else "", value(inner)) for number, inner in enumerate(one))
        else:
            yield title, time(one) if name.endswith(("_at", "_time")) else value(one)
