"""Situations to explain: each is played on a stage, and returns what is told about it.

The expected texts are in told/, one file for each. `python -m tests.services.explanation.record [NAME …]` writes them
anew: read them aloud before they are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from services.explanation.sentences import Sentence, Told
from tests.services.explanation.stage import Stage

FOLDER = Path(__file__).parent / "told"
DUE = datetime(2026, 11, 2, 1, tzinfo=UTC)  # two o'clock in Berlin
THREE = ("web-1", "web-2", "web-3")

Situation = Callable[[Stage], Told]
SITUATIONS: dict[str, Situation] = {}


def situation(play: Situation) -> Situation:
    SITUATIONS[play.__name__] = play
    return play


def text(sentences: list[Sentence]) -> str:
    """Return an explanation as `flows why` prints it."""
    lines = [
        one.text + (f"  {', '.join(f'#{cause.sequence}' for cause in one.causes)}" if one.causes else "")
        for one in sentences
    ]
    return "\n".join(lines) + "\n"


def at(hour: int, minute: int = 0, second: int = 0, day: int = 2) -> datetime:
    return datetime(2026, 11, day, hour, minute, second, tzinfo=UTC)
