"""Histories: stretches of the log as JSON lines, each with its place on the log. Such a file can be replayed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from bus.envelope import Entry, decode
from schemas.base import Value


class _Line(Value, frozen=True, kw_only=True):
    sequence: int
    subject: str
    stored_at: datetime
    message: msgspec.Raw


_decoder = msgspec.json.Decoder(_Line)


def dump(entry: Entry) -> bytes:
    """Return an entry as one line. Its body must be JSON."""
    line = _Line(
        sequence=entry.sequence, subject=entry.subject, stored_at=entry.stored_at, message=msgspec.Raw(entry.body)
    )
    return msgspec.json.encode(line) + b"\n"


def load(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the entries of lines. Raises `ValueError` with the number of a line that is none."""
    for number, line in enumerate(lines, start=1):
        try:
            found = _decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise ValueError(f"line {number} is no message of a log: {error}") from error
        yield decode(
            sequence=found.sequence, subject=found.subject, stored_at=found.stored_at, body=bytes(found.message)
        )
