"""What this engine has signed, and hands out to be shown to it again: every API process has the same key."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac


class Signer:
    """Signs for one purpose; what was signed for another one is none of its own. The text is fit for a cookie."""

    def __init__(self, secret: bytes, purpose: str, *, longest: int) -> None:
        """`longest`: characters of a text that is read at all."""
        self._key = hmac.digest(secret, purpose.encode(), hashlib.sha256)
        self._longest = longest

    def sign(self, said: bytes) -> str:
        """Return a text that says this, signed. Raises `ValueError` when it would be too long to be read."""
        body = base64.urlsafe_b64encode(said).decode().rstrip("=")
        text = f"{body}.{self.mark(body)}"
        if len(text) > self._longest:
            raise ValueError(f"it is signed with {len(text)} characters, and may have {self._longest}")
        return text

    def read(self, text: str) -> bytes | None:
        """Return what a text says; None when it is none of ours."""
        body, _, mark = text.rpartition(".")
        if len(text) > self._longest or not self.same(mark, self.mark(body)):
            return None
        try:
            return base64.urlsafe_b64decode(f"{body}{'=' * (-len(body) % 4)}")
        except (binascii.Error, ValueError):
            return None

    def mark(self, said: str) -> str:
        """Return the signature of a text, in hexadecimal."""
        return hmac.new(self._key, said.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    @staticmethod
    def same(shown: str, right: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), right.encode())
