"""Tickets: what a browser's EventSource, which can send no headers, shows instead of a token. Once, and soon."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

LIFETIME = timedelta(seconds=30)
LONGEST = 512  # characters


class Tickets:
    """Issues tickets and takes them in. A ticket is `<holder>.<end>.<nonce>.<signature>`.

    It is signed with a key that all API processes have, so each of them takes one that another has issued. Each
    remembers those that it took until they end anyway: it takes none twice.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"tickets for live events", hashlib.sha256)
        self._taken: dict[str, float] = {}  # by ticket: its end

    def issue(self, holder: str, now: datetime, nonce: str) -> tuple[str, datetime]:
        """Return a ticket and its end.

        `holder`: the id of the token that pays for it. `nonce`: what no other ticket has; without a `.`.
        """
        end = int((now + LIFETIME).timestamp())
        said = f"{holder.encode().hex()}.{end}.{nonce}"
        return f"{said}.{self._signature(said)}", datetime.fromtimestamp(end, UTC)

    def take(self, ticket: str, now: datetime) -> str | None:
        """Return whose ticket it is, the first time; None when it is none, has ended, or was taken before."""
        said, _, signature = ticket.rpartition(".")
        if len(ticket) > LONGEST or not hmac.compare_digest(signature.encode(), self._signature(said).encode()):
            return None
        holder, end, _ = said.split(".")
        at = now.timestamp()
        self._taken = {one: until for one, until in self._taken.items() if until >= at}
        if float(end) < at or ticket in self._taken:
            return None
        self._taken[ticket] = float(end)
        return bytes.fromhex(holder).decode()

    def _signature(self, said: str) -> str:
        return hmac.new(self._key, said.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
