"""Which ids have been processed: their outcome is on the log. It never forgets one, so a repeated command does nothing.

An id is kept as 8 bytes of its digest. With a million of them, the chance that a new one looks like one of them is one
in ten trillion.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from hashlib import blake2b


class ProcessedIds:
    """A set of ids that only grows. It is saved in parts, up to a position; what has been saved never changes."""

    def __init__(self) -> None:
        self._digests: set[int] = set()
        self._in_order = array("Q")
        self._sequences = array("Q")  # of each one's outcome on the log

    def __contains__(self, id: str) -> bool:  # noqa: A002
        return _digest(id) in self._digests

    def add(self, id: str, sequence: int) -> None:  # noqa: A002
        """Add an id, with the sequence of its outcome. Ids are added in the order of the log."""
        digest = _digest(id)
        if digest not in self._digests:
            self._add(digest, sequence)

    def count(self, position: int) -> int:
        """Return how many had been processed at a position of the log."""
        return bisect_right(self._sequences, position)

    def part(self, start: int, end: int) -> bytes:
        """Return the ids number `start` up to `end` as bytes, for `load`."""
        return self._in_order[start:end].tobytes()

    def load(self, part: bytes, most: int) -> int:
        """Add the ids of `part`, at most `most` of them, as processed long ago; return how many it held."""
        ids = array("Q")
        ids.frombytes(part[: 8 * min(most, len(part) // 8)])
        for digest in ids:
            self._add(digest, 0)
        return len(ids)

    def _add(self, digest: int, sequence: int) -> None:
        self._digests.add(digest)
        self._in_order.append(digest)
        self._sequences.append(sequence)


def _digest(id_: str) -> int:
    return int.from_bytes(blake2b(id_.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
