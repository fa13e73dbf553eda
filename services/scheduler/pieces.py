"""Pieces of time: minutes as bits after an instant, and the instants that they stand for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from schemas.base import Value
from services.scheduler.clocks import MINUTE

MINUTES = 24 * 60  # of a day: a piece has no more
_OFFSETS = tuple(minute * MINUTE for minute in range(MINUTES))


class Piece(Value, frozen=True):
    """Minutes (bits) after an instant `base`: those that fire, and those that match and are excluded."""

    base: datetime
    fires: int
    excluded: int = 0
    note: str | None = None

    def within(self, after: datetime, until: datetime) -> Piece:
        """Return what lies strictly after an instant, up to another one."""
        begin = (after - self.base) // MINUTE + 1
        end = (until - self.base) // MINUTE + 1
        if begin <= 0 and end >= MINUTES:
            return self
        kept = (1 << max(0, min(end, MINUTES))) - (1 << max(0, min(begin, end, MINUTES)))
        return Piece(self.base, self.fires & kept, self.excluded & kept, self.note)


@lru_cache(maxsize=512)
def _minutes_of(bits: int) -> tuple[timedelta, ...]:
    return tuple(offset for offset, bit in zip(_OFFSETS, reversed(f"{bits:b}"), strict=False) if bit == "1")


def instants(base: datetime, bits: int) -> list[datetime]:
    return [base + offset for offset in _minutes_of(bits)] if bits else []


def one_by_one(piece: Piece) -> Iterator[tuple[datetime, bool]]:
    """Yield the instants of a piece, and whether each is excluded; no more are worked out than are taken."""
    left = piece.fires | piece.excluded
    while left:
        lowest = left & -left
        yield piece.base + _OFFSETS[lowest.bit_length() - 1], bool(lowest & piece.excluded)
        left ^= lowest


def firing(pieces: Sequence[Piece]) -> list[datetime]:
    """Return the instants at which pieces fire, in order, each once."""
    if len(pieces) == 1:
        return instants(pieces[0].base, pieces[0].fires)
    return sorted({at for piece in pieces for at in instants(piece.base, piece.fires)})


def number_of(pieces: Sequence[Piece]) -> int:
    return pieces[0].fires.bit_count() if len(pieces) == 1 else len(firing(pieces))


def first_of(pieces: Sequence[Piece]) -> datetime:
    """Return the first instant at which pieces fire, of which there is one."""
    return min(piece.base + _OFFSETS[(piece.fires & -piece.fires).bit_length() - 1] for piece in pieces if piece.fires)
