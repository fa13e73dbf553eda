"""An identity provider on a port of its own, with real keys: it signs in whoever it is told to, and can misbehave."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, RSAKey

from tests.ports import HOST, reserved_port

CLIENT, SECRET = "engine", "a client secret that nobody else knows"
RSA = RSAKey.generate_key(2048, parameters={"kid": "rsa", "use": "sig"})  # made once: it takes a while


class LocalProvider:
    """Issues codes and ID tokens. What a test changes in it is how it misbehaves."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://{HOST}:{port}/realms/example"
        self.key: Key = RSA
        self.listed: list[Key] | None = None  # the keys that it names; None: its own
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "rsa"}
        self.claims: dict[str, Any] = {}  # instead of what is true; None: left out
        self.discovery: dict[str, Any] = {}
        self.status = 200  # of all that it is asked
        self.raw: bytes | None = None
        self.token: str | None = None  # instead of one that it signs
        self.codes_last = False  # whether a code is good again
        self.hold: asyncio.Event | None = None
        self.asked: list[str] = []
        self.sent: list[dict[str, Any]] = []  # what came to the token endpoint, with the headers
        self._codes: dict[str, dict[str, str]] = {}

    def authorize(self, location: str) -> dict[str, str]:
        """Sign somebody in as a browser would that was sent here, and return what it brings back."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert location.startswith(f"{self.issuer}/authorize?")
        assert (query["client_id"], query["response_type"]) == (CLIENT, "code")
        assert (query["code_challenge_method"], query["scope"]) == ("S256", "openid profile email")
        code = f"code-{len(self._codes)}-{'x' * 1_500}"  # some providers' are as long
        self._codes[code] = query
        return {"code": code, "state": query["state"], "session_state": "of its own", "iss": self.issuer}

    def respond(self, method: str, path: str, headers: dict[str, str], body: str) -> tuple[int, bytes]:
        self.asked.append(path)
        if self.status != 200 or self.raw is not None:
            return self.status, self.raw or b"{}"
        match method, path.removeprefix(urlsplit(self.issuer).path):
            case "GET", "/.well-known/openid-configuration":
                found = {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/authorize",
                    "token_endpoint": f"{self.issuer}/token",
                    "jwks_uri": f"{self.issuer}/keys",
                    **self.discovery,
                }
            case "GET", "/keys":
                found = {"keys": [key.as_dict(private=False) for key in self.listed or [self.key]]}
            case "POST", "/token":
                return self._token(headers, {name: values[0] for name, values in parse_qs(body).items()})
            case _:
                return 404, b"{}"
        return 200, json.dumps(found).encode()

    def _token(self, headers: dict[str, str], sent: dict[str, str]) -> tuple[int, bytes]:
        self.sent.append({**sent, **headers})
        basic = base64.b64encode(f"{CLIENT}:{SECRET.replace(' ', '+')}".encode()).decode()
        if headers.get("authorization") != f"Basic {basic}":
            return 401, b'{"error": "invalid_client"}'
        begun = self._codes.get(sent["code"]) if self.codes_last else self._codes.pop(sent["code"], None)
        digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
        proof = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if begun is None or proof != begun["code_challenge"] or sent["redirect_uri"] != begun["redirect_uri"]:
            return 400, b'{"error": "invalid_grant"}'
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "0815",
            "iat": now,
            "exp": now + 300,
            "nonce": begun["nonce"],
            "preferred_username": "eve",
            "roles": ["backup-ops"],
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        signed = self.token or jwt.encode(self.header, claims, self.key, algorithms=[self.header["alg"]])
        return 200, json.dumps({"id_token": signed, "access_token": "a", "token_type": "Bearer"}).encode()


@asynccontextmanager
async def local_provider() -> AsyncIterator[LocalProvider]:
    """Give a provider that listens."""
    port = reserved_port()
    provider = LocalProvider(port)
    begun: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            if provider.hold is not None:
                await provider.hold.wait()
            method, path, _ = first.split(" ")
            status, sent = provider.respond(method, path, headers, body.decode())
            about = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(sent)}\r\n"
            writer.write(f"{about}Connection: close\r\n\r\n".encode() + sent)
            await writer.drain()
        finally:
            writer.transport.abort() if provider.hold is not None else writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        begun.add(task)
        task.add_done_callback(begun.discard)

    server = await asyncio.start_server(connected, HOST, port)
    try:
        yield provider
    finally:
        server.close()
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        await server.wait_closed()


def ec_key(kid: str = "ec") -> ECKey:
    return ECKey.generate_key("P-256", parameters={"kid": kid, "use": "sig"})


def symmetric(secret: bytes) -> OctKey:
    return OctKey.import_key(secret)
