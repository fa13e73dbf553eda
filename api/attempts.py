"""How often somebody may show a wrong token: so none is found by trying, and trying does not fill the log."""

from __future__ import annotations

import hashlib

from api.rates import Limiter, Rate

BY_ADDRESS = Rate(per_second=0.5, burst=30)
IN_ALL = Rate(per_second=30, burst=300)
UNGUESSABLE = 32  # characters: a token as long as that, as the engine makes them, is not found by trying
MOST_KNOWN = 10_000  # tokens, each from one address, that are known to be right

Proof = tuple[str, bytes]


class Attempts:
    """Counts wrong tokens, by address and in all. `now` is in seconds.

    Beyond a limit a token that somebody could guess is looked at no more, right or wrong, unless it was right from the
    same address before. So who is at work is not kept out by who guesses.
    """

    def __init__(self) -> None:
        self._by_address = Limiter(BY_ADDRESS)
        self._in_all = Limiter(IN_ALL, most_keys=1)
        self._known: dict[Proof, None] = {}  # in the order in which they were seen last

    def blocked(self, address: str, token: str, now: float) -> float:
        """Return for how many seconds this token is not looked at; 0: it is."""
        if len(token) >= UNGUESSABLE or _proof(address, token) in self._known:
            return 0
        return self._wait(address, now)

    def wrong(self, address: str, token: str, now: float) -> float:
        """Count a token that was wrong. Return for how many seconds none should have been shown; 0: it was in time."""
        self._known.pop(_proof(address, token), None)
        seconds = self._wait(address, now)
        if not seconds:
            self._by_address.count(address, now)
            self._in_all.count("", now)
        return seconds

    def right(self, address: str, token: str) -> None:
        """Remember a token that was right, if it is one that may be blocked."""
        if len(token) >= UNGUESSABLE:
            return
        proof = _proof(address, token)
        self._known.pop(proof, None)
        self._known[proof] = None
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def _wait(self, address: str, now: float) -> float:
        return max(self._by_address.wait(address, now), self._in_all.wait("", now))


def _proof(address: str, token: str) -> Proof:
    return address, hashlib.sha256(token.encode()).digest()
