"""A client of the API."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import quote

import httpx

from cli.failures import FAILED, NOT_FOUND, UNREACHABLE, Failure

PAGE = 500
_CODES = {404: NOT_FOUND, 503: UNREACHABLE}
START_IT = "Start it with `flows up`, or name another one with --url, --data or `flows context use`"


class Api:
    """A client with a token, or without. Raises `Failure` with the API's reason when it refuses, and an exit code.

    It is closed as a context manager. `trust`: whose certificates are taken, when not those that the machine trusts.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        transport: httpx.BaseTransport | None = None,
        *,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.url = url
        self._http = httpx.Client(
            base_url=f"{url}/api/v1",
            headers=headers,
            timeout=30,
            transport=transport,
            verify=True if trust is None else trust,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and return the body of the response."""
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        _check(response)
        where = response.headers.get("location", "")
        if response.status_code == httpx.codes.ACCEPTED and "/commands/" in where:
            raise Failure(f"{method} {path}: it is on the log, and not done yet; {where} tells how it ends")
        return response.json() if response.content else None

    def all(self, path: str, key: str, most: int | None = None, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield what a list has on all of its pages, or the first `most`. `query`: further parameters of the list."""
        offset = 0
        while True:
            limit = PAGE if most is None else min(PAGE, most - offset)
            page = self.call("GET", path, params={"limit": limit, "offset": offset, **query})
            yield from page[key]
            offset += limit
            if offset >= page["total"] or offset == most:
                return

    def ready(self) -> Any:
        """Return how the engine and its services are, also when it says that it is not ready."""
        try:
            return self._http.get(f"{self.url}/health/ready").json()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def events(self, **query: Any) -> Iterator[str]:
        """Yield the bodies of live events, without an end. `query`: which ones."""
        try:
            with self._http.stream("GET", "/events", params=query, timeout=None) as response:
                if response.is_error:
                    response.read()
                _check(response)
                for line in response.iter_lines():
                    field, _, value = line.partition(": ")
                    if field == "data":
                        yield value
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.TransportError) -> Failure:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            wrong = f"{self.url} shows a certificate that is not trusted here ({error}): name the one that it has, or"
            return Failure(f"{wrong} that of its authority, with --ca FILE or FLOWS_CA", UNREACHABLE)
        return Failure(f"the API at {self._http.base_url} does not respond: {error}. {START_IT}", UNREACHABLE)


def segment(text: str) -> str:
    """Return a text as one segment of a path, whatever is in it."""
    return quote(text, safe="")


def _check(response: httpx.Response) -> None:
    """Raise `Failure` for a request that was refused: by the API, in its words, or by a proxy before it."""
    if not response.is_error:
        return
    try:
        reason = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        text = f"{response.status_code} {response.reason_phrase} {response.text[:200]}".strip()
        reason = f"{response.request.method} {response.request.url.path}: {text}"
    raise Failure(reason, _CODES.get(response.status_code, FAILED))
