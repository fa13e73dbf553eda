"""Where the messages of released versions are, and how they are read."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from bus.envelope import encode
from bus.subjects import subject_of
from schemas.base import Message
from tests.released import samples

FOLDER = Path(__file__).parent
VERSION = version("protection-flows-engine")
KINDS = ("full", "least")


def file_of(tag: str) -> Path:
    """Return the file with this version's messages of a type."""
    return FOLDER / VERSION / f"{tag}.json"


def sampled(shape: type[Message]) -> dict[str, Any]:
    """Return what the file of a shape has to hold in this version: a message with all fields, and one with the least.

    Each with its subject and its body.
    """
    made = (samples.full(shape), samples.least(shape))
    return {
        kind: {"subject": subject_of(sent.data), "body": msgspec.json.decode(encode(sent))}
        for kind, sent in zip(KINDS, made, strict=True)
    }


def recorded(file: Path) -> dict[str, Any]:
    """Return the messages in a file, by their kind."""
    found: dict[str, Any] = msgspec.json.decode(file.read_bytes())
    return found


def is_released(changelog: str) -> bool:
    """Tell whether this version has been released: then its messages are on people's logs, and stay as they are."""
    return f"## [{VERSION}]" in changelog
