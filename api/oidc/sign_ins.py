"""Sign-ins that are under way: between sending a browser to the provider, and its coming back."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from api.signing import Signer
from schemas.base import Value

LIFETIME = timedelta(minutes=10)
LONGEST = 1_024  # characters
MOST_TAKEN = 10_000


class SignIn(Value, frozen=True, kw_only=True):
    """What binds the provider's response to the browser that was sent there, and to nobody else.

    `state` comes back in the address, `nonce` in the ID token, and only who has `verifier` may use the code.
    """

    state: str
    nonce: str
    verifier: str
    end: int


class SignIns:
    """Signs them for a cookie, so that any API process takes them; each takes one once."""

    def __init__(self, secret: bytes) -> None:
        self._signer = Signer(secret, "sign-ins by a provider", longest=LONGEST)
        self._taken: dict[str, int] = {}  # by state: the end

    def begin(self, now: datetime, *, state: str, nonce: str, verifier: str) -> SignIn:
        """Return a sign-in. `state`, `nonce`, `verifier`: random, of 43 characters or more."""
        return SignIn(state=state, nonce=nonce, verifier=verifier, end=int((now + LIFETIME).timestamp()))

    def cookie(self, sign_in: SignIn) -> str:
        """Return a cookie's value."""
        return self._signer.sign(msgspec.json.encode(sign_in))

    def take(self, cookie: str, state: str, now: datetime) -> SignIn | None:
        """Return the sign-in of a cookie, the first time; None when it is another one's, has ended, or was taken."""
        said = self._signer.read(cookie)
        if said is None:
            return None
        try:
            found = msgspec.json.decode(said, type=SignIn)
        except msgspec.MsgspecError:  # of another version
            return None
        at = now.timestamp()
        self._taken = {one: end for one, end in self._taken.items() if end > at}
        if not Signer.same(state, found.state) or at >= found.end or found.state in self._taken:
            return None
        if len(self._taken) >= MOST_TAKEN:
            del self._taken[next(iter(self._taken))]
        self._taken[found.state] = found.end
        return found
