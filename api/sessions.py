"""Sessions of browsers: what a cookie says of who has signed in, signed, so that every API process takes it.

Nothing is kept of a session but that it was ended: whose it is stands in the cookie (docs/adr/0024).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import structs

from api.identity import Identity
from api.signing import Signer
from schemas.base import Value

LONGEST = timedelta(hours=12)  # from signing in
IDLE = timedelta(hours=1)  # after which a cookie that was not renewed is of no use
MOST_ENDED = 10_000  # sessions that are remembered as ended
MOST_BYTES = 3_800  # of a cookie's value: browsers keep 4,096 with its name and attributes


class Session(Value, frozen=True, kw_only=True):
    """Who has signed in: with a token, by its id, so that it ends with the token; or by a provider's word, `identity`.

    `end`, `idle_end`: in seconds since 1970; the session ends at the first of them, and only the second can be moved.
    """

    id: str
    token_id: str | None = None
    identity: Identity | None = None
    end: int
    idle_end: int

    @property
    def expires_at(self) -> datetime:
        """When it ends, whatever is done."""
        return datetime.fromtimestamp(self.end, UTC)


class Sessions:
    """Signs sessions, and tells which are good. Those that were ended are remembered here until they would have."""

    def __init__(self, secret: bytes) -> None:
        self._signer = Signer(secret, "sessions of browsers", longest=MOST_BYTES)
        self._ended: dict[str, int] = {}  # by id: when it would have ended anyway

    def begin(
        self, session_id: str, now: datetime, *, token_id: str | None = None, identity: Identity | None = None
    ) -> Session:
        """Return a session of a token's holder, or of an identity. `session_id`: no other has it."""
        made = Session(
            id=session_id,
            token_id=token_id,
            identity=identity,
            end=int((now + LONGEST).timestamp()),
            idle_end=0,
        )
        return self.renewed(made, now)

    def renewed(self, session: Session, now: datetime) -> Session:
        """Return a session whose cookie is good for another while, and never beyond its end."""
        return structs.replace(session, idle_end=min(session.end, int((now + IDLE).timestamp())))

    def cookie(self, session: Session) -> str:
        """Return a cookie's value. Raises `ValueError` when no browser would keep it, as its groups are too many."""
        return self._signer.sign(msgspec.json.encode(session))

    def read(self, cookie: str, now: datetime) -> Session | None:
        """Return the session of a cookie's value; None when it is none of ours, or has ended."""
        said = self._signer.read(cookie)
        if said is None:
            return None
        try:
            session = msgspec.json.decode(said, type=Session)
        except msgspec.MsgspecError:  # of another version, that had the same key
            return None
        at = now.timestamp()
        return None if at >= session.end or at >= session.idle_end or session.id in self._ended else session

    def end(self, session: Session, now: datetime) -> None:
        """Take a session no more, though its cookie may have been copied."""
        at = now.timestamp()
        self._ended = {id_: end for id_, end in self._ended.items() if end > at}
        if len(self._ended) >= MOST_ENDED:
            del self._ended[min(self._ended, key=self._ended.__getitem__)]
        self._ended[session.id] = session.end

    def csrf_token(self, session: Session) -> str:
        """Return what a page of ours knows of a session, and another one does not."""
        return self._signer.mark(f"csrf {session.id}")
