"""Who vouches for enrolled workers to nats-server: it asks by `AUTHENTICATION` who somebody is, and is told in a JWT.

nats-server calls that auth callout. Its own users it knows from its configuration; everybody else it asks about. Keys
are NATS's nkeys: an Ed25519 key behind a byte that says what it is, with a CRC-16 (XMODEM), in base32.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bus.identities import Permissions
from schemas.base import Value

ACCOUNT = "$G"  # where everybody is, but for who closes connections
_ACCOUNT_KEY = b"\x00"  # the byte before the key of an account
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_REPLIES_WITHIN = timedelta(hours=1)  # as `bus/configuration.py` has it for users in the configuration


class Question(Value, frozen=True, kw_only=True):
    """What a server asks: who `user` with this password is. `server` and `key` are for the reply."""

    user: str
    password: str
    server: str
    key: str


class _Server(Value, frozen=True, kw_only=True):
    id: str


class _Shown(Value, frozen=True, kw_only=True):
    user: str = ""
    password: str = msgspec.field(name="pass", default="")


class _Nats(Value, frozen=True, kw_only=True):
    server_id: _Server
    user_nkey: str
    connect_opts: _Shown = _Shown()


class _Claims(Value, frozen=True, kw_only=True):
    nats: _Nats


class Issuer:
    """Signs who somebody is. `seed`: 32 secret bytes, in URL-safe base64."""

    def __init__(self, seed: str) -> None:
        self._seed = seed

    @classmethod
    def of(cls, file: Path) -> Issuer:
        """Return the issuer whose seed is in a file. Raises `OSError`, and `ValueError` when it holds none."""
        issuer = cls(file.read_text().strip())
        assert issuer.public, "it has a key"
        return issuer

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        try:
            return Ed25519PrivateKey.from_private_bytes(_decoded(self._seed))
        except ValueError:
            raise ValueError("the seed of the issuer is not 32 bytes in base64") from None

    @cached_property
    def public(self) -> str:
        """The public key, as nats-server's configuration names the issuer."""
        checked = _ACCOUNT_KEY + self._key.public_key().public_bytes_raw()
        checksum = binascii.crc_hqx(checked, 0).to_bytes(2, "little")
        return base64.b32encode(checked + checksum).decode().rstrip("=")

    def accepting(self, question: Question, permissions: Permissions, at: datetime, *, end: datetime | None) -> bytes:
        """Return the reply that it is who it says, and what it may do. `end`: until when; None: until it leaves."""
        claims: dict[str, Any] = {
            "name": question.user,
            "sub": question.key,
            "aud": ACCOUNT,
            "nats": {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, **_rights(permissions)},
        }
        if end is not None:
            claims["exp"] = int(end.timestamp())
        return self._reply(question, at, jwt=self._signed(claims, at))

    def refusing(self, question: Question, reason: str, at: datetime) -> bytes:
        """Return the reply that it is nobody; the reason stands in the server's own log."""
        return self._reply(question, at, error=reason)

    def _reply(self, question: Question, at: datetime, **said: str) -> bytes:
        nats = {"type": "authorization_response", "version": 2, **said}
        return self._signed({"sub": question.key, "aud": question.server, "nats": nats}, at).encode()

    def _signed(self, claims: dict[str, Any], at: datetime) -> str:
        claims = {**claims, "iss": self.public, "iat": int(at.timestamp())}
        claims["jti"] = hashlib.sha256(msgspec.json.encode(claims)).hexdigest()
        text = f"{_encoded(msgspec.json.encode(_HEADER))}.{_encoded(msgspec.json.encode(claims))}"
        return f"{text}.{_encoded(self._key.sign(text.encode()))}"


def question_of(body: bytes) -> Question | None:
    """Return what a server asks, None when it is no question. Only servers can ask: no user may publish there."""
    try:
        claims = msgspec.json.decode(_decoded(body.decode().split(".")[1]), type=_Claims).nats
    except (ValueError, IndexError):
        return None
    shown = claims.connect_opts
    return Question(user=shown.user, password=shown.password, server=claims.server_id.id, key=claims.user_nkey)


def _rights(permissions: Permissions) -> dict[str, Any]:
    """Return permissions as a JWT has them; what has no list would be everything."""
    publish = {"allow": list(permissions.publish)} if permissions.publish else {"deny": [">"]}
    if permissions.publish_never:
        publish["deny"] = [*publish.get("deny", ()), *permissions.publish_never]
    rights: dict[str, Any] = {"pub": publish, "sub": {"allow": list(permissions.subscribe)}}
    if permissions.replies:
        rights["resp"] = {"max": 1, "ttl": int(_REPLIES_WITHIN.total_seconds() * 1e9)}
    return rights


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    bare = text.rstrip("=")
    return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
