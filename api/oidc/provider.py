"""The identity provider, as it is asked: where it is, with which keys it signs, and what a code is good for.

All that comes from it is bounded: in bytes, in time, and in how often it is asked.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote_plus

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc.jwk import KeySet

from api.oidc import claims
from api.oidc.claims import Claims, UnknownKey, Wrong
from api.oidc.sign_ins import SignIn
from api.oidc.terms import Terms, is_safe
from api.problems import ApiError

log = logging.getLogger(__name__)

SCOPE = "openid profile email"
KEPT = 3_600.0  # seconds for which what it says of itself, and its keys, are believed
PAUSE = 30.0  # seconds between two looks for keys that it did not name before
AGAIN = 5.0  # seconds in which one that did not respond is not asked again
TIMEOUT = 10.0  # seconds for all that one request asks of it
MOST_BYTES = 262_144  # of a response
MOST_AT_ONCE = 20  # sign-ins that wait for it
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class Provider:
    """Asks an identity provider. `secret`: ours there; None: it knows us by PKCE alone."""

    def __init__(self, terms: Terms, secret: str | None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.terms = terms
        self._secret = secret
        self._transport = transport
        self._lock = asyncio.Lock()
        self._metadata: tuple[float, dict[str, Any]] | None = None  # since when
        self._keys: tuple[float, KeySet] | None = None
        self._failed: tuple[float, str] | None = None
        self._asking = 0

    async def address(self, sign_in: SignIn, redirect_uri: str, at: datetime) -> str:
        """Return where a browser is sent to. Raises 503 when the provider does not respond."""
        async with self._asked():
            metadata = await self._described(at.timestamp())
        return str(
            prepare_grant_uri(
                metadata["authorization_endpoint"],
                self.terms.client_id,
                "code",
                redirect_uri=redirect_uri,
                scope=SCOPE,
                state=sign_in.state,
                nonce=sign_in.nonce,
                code_challenge=create_s256_code_challenge(sign_in.verifier),
                code_challenge_method="S256",
            )
        )

    async def claims(self, code: str, sign_in: SignIn, redirect_uri: str, at: datetime) -> Claims:
        """Return what the provider says of who has come back with a code.

        Raises `Wrong` when it does not take the code, or its ID token is not valid, and 503 when it does not respond.
        """
        now = at.timestamp()
        async with self._asked():
            metadata = await self._described(now)
            told = await self._exchanged(metadata, code, sign_in.verifier, redirect_uri)
            token, access_token = told.get("id_token"), told.get("access_token")
            if not isinstance(token, str):
                raise Wrong("there is no ID token")
            about: dict[str, Any] = {
                "nonce": sign_in.nonce,
                "access_token": access_token if isinstance(access_token, str) else None,
                "at": at,
            }
            keys = await self._signing(metadata, now)
            try:
                return claims.verified(token, keys, self.terms, **about)
            except UnknownKey:
                if self._keys is None or now - self._keys[0] < PAUSE:
                    raise
                self._keys = None
                return claims.verified(token, await self._signing(metadata, now), self.terms, **about)

    async def _described(self, now: float) -> dict[str, Any]:
        """Return what the provider says of itself, asked now and then."""
        async with self._lock:
            if self._metadata is None or now - self._metadata[0] > KEPT:
                found = await self._get(f"{self.terms.issuer.rstrip('/')}/.well-known/openid-configuration", now)
                if found.get("issuer") != self.terms.issuer:
                    raise self._unavailable("it says that it is another issuer", now)
                for name in ENDPOINTS:
                    if not is_safe(str(found.get(name, ""))):
                        raise self._unavailable(f"its {name} is no address with https://", now)
                self._metadata = now, found
            return self._metadata[1]

    async def _signing(self, metadata: dict[str, Any], now: float) -> KeySet:
        async with self._lock:
            if self._keys is None or now - self._keys[0] > KEPT:
                self._keys = now, claims.keys_of(await self._get(metadata["jwks_uri"], now))
            return self._keys[1]

    async def _exchanged(self, metadata: dict[str, Any], code: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
        """Return what the provider gives for a code. Raises `Wrong` when it does not take it."""
        more: dict[str, str] = {"code": code, "code_verifier": verifier}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        ways = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        auth = None
        if self._secret is None:
            more["client_id"] = self.terms.client_id
        elif "client_secret_basic" in ways or "client_secret_post" not in ways:
            auth = httpx.BasicAuth(quote_plus(self.terms.client_id), quote_plus(self._secret))
        else:
            more |= {"client_id": self.terms.client_id, "client_secret": self._secret}
        body = prepare_token_request("authorization_code", redirect_uri=redirect_uri, **more)
        status, told = await self._ask("POST", metadata["token_endpoint"], content=body, headers=headers, auth=auth)
        if 400 <= status < 500:
            reason = str(told.get("error", status))
            if reason == "invalid_client":
                raise self._unavailable("it does not know the engine by its client id and secret")
            raise Wrong("the provider did not take the code" if reason == "invalid_grant" else "it was refused there")
        if status != httpx.codes.OK:
            raise self._unavailable(f"it responded with {status}")
        return told

    async def _get(self, url: str, now: float) -> dict[str, Any]:
        if self._failed is not None and 0 <= now - self._failed[0] < AGAIN:
            raise self._refusal(self._failed[1])
        status, found = await self._ask("GET", url, now=now)
        if status != httpx.codes.OK:
            raise self._unavailable(f"it responded with {status}", now)
        return found

    async def _ask(
        self, method: str, url: str, *, now: float | None = None, **options: Any
    ) -> tuple[int, dict[str, Any]]:
        """Return status and body of a response. Raises 503 when there is none in time, or it is no JSON object."""
        try:
            async with (
                asyncio.timeout(TIMEOUT),
                httpx.AsyncClient(transport=self._transport, timeout=TIMEOUT, follow_redirects=False) as client,
                client.stream(method, url, **options) as response,
            ):
                body = b""
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > MOST_BYTES:
                        raise self._unavailable("what it sent is too long", now)
                found = json.loads(body)
        except TimeoutError:
            raise self._unavailable("it does not respond in time", now) from None
        except httpx.HTTPError as error:
            raise self._unavailable(f"it cannot be reached ({type(error).__name__})", now) from None
        except (ValueError, RecursionError):
            raise self._unavailable("what it sent is no JSON", now) from None
        if not isinstance(found, dict):
            raise self._unavailable("what it sent is no JSON object", now)
        return response.status_code, cast("dict[str, Any]", found)

    def _unavailable(self, reason: str, now: float | None = None) -> ApiError:
        """Return the error of a sign-in that is not possible now, and note it. `now`: it is not asked again soon."""
        about = {"action": "identity_provider_unavailable", "issuer": self.terms.issuer, "reason": reason}
        log.warning("the identity provider %s: %s", self.terms.issuer, reason, extra=about)
        if now is not None:
            self._failed = now, reason
        return self._refusal(reason)

    def _refusal(self, reason: str) -> ApiError:
        detail = f"signing in by the identity provider {self.terms.issuer} is not possible now: {reason}"
        return ApiError(503, f"{detail}. Tokens are taken as ever", headers={"Retry-After": "10"})

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[None]:
        """Count one who waits for the provider. Raises 503 when it would be one too many."""
        if self._asking >= MOST_AT_ONCE:
            detail = f"{MOST_AT_ONCE} others are signing in at this moment: try again"
            raise ApiError(503, detail, headers={"Retry-After": "2"})
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
