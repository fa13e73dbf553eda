"""Tokens of the API: what their secrets look like, and what is kept of one. Pure."""

from __future__ import annotations

import hashlib
import re

PREFIX = "flows_"  # by which people, and scanners for secrets, recognise one
PROVIDED = "oidc:"  # begins the names of those whom an identity provider has signed in, and of no token
BYTES = 32  # of randomness in a secret
LONGEST = 512  # characters that are looked at
_SECRET = re.compile(rf"{PREFIX}[0-9A-Za-z_-]{{43}}")


def secret(randomness: str) -> str:
    """Return a secret. `randomness`: `BYTES` random bytes in URL-safe base64, 43 characters."""
    return PREFIX + randomness


def is_whole(text: str) -> bool:
    """Tell whether a text has the shape of a secret."""
    return _SECRET.fullmatch(text) is not None


def digest_of(text: str) -> str:
    """Return the SHA-256 of a secret, in hexadecimal: all that is kept. Whatever the text is, it has one."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
