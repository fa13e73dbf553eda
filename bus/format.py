"""The format of the log: what code must know to work on it. The stream carries it, and older code refuses a higher one.

Most changes need no new format: what is unknown of a message is ignored, and a message of an unknown type too. Raise
`FORMAT` only when code of before would do harm although nothing fails: when what it looks for stands elsewhere, such as
on other subjects, or when a message means something else than it did. Then no older part can run beside newer ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from bus.errors import NewerLog

FORMAT = 1
_KEY = "flows_format"  # in the stream's metadata


def marked(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return a stream's metadata with this version's format in it. Raises `NewerLog`: a higher one is never lowered."""
    refuse_newer(metadata)
    return {**(metadata or {}), _KEY: str(FORMAT)}


def refuse_newer(metadata: Mapping[str, str] | None) -> None:
    """Raise `NewerLog` for a log whose format is higher than this version knows. One that says none is older."""
    text = (metadata or {}).get(_KEY, "0")
    if not (text.isascii() and text.isdigit() and int(text) <= FORMAT):
        raise NewerLog(
            f"the log is of a newer version of flows: its format is {text[:20]}, and this version knows "
            f"up to {FORMAT}. Start the newer version; to go back, restore the log from before the upgrade "
            "(docs/deployment.md)"
        )
