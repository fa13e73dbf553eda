"""A client of the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

PAGE = 500


class Api:
    """A client with a token. Raises `RuntimeError` with the API's reason when it refuses."""

    def __init__(self, url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=30, transport=transport)

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and return the body of the response."""
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise RuntimeError(f"the API at {self._http.base_url} does not respond: {error}") from error
        if response.is_error:
            raise RuntimeError(f"{method} {path}: {_detail(response)}")
        if response.status_code == httpx.codes.ACCEPTED:
            where = response.headers.get("location", "the commands")
            raise RuntimeError(f"{method} {path}: it is on the log, and not done yet; {where} tells how it ends")
        return response.json() if response.content else None

    def all(self, path: str, key: str, **query: str) -> Iterator[dict[str, Any]]:
        """Yield what a list has on all of its pages. `query`: further parameters of the list."""
        offset = 0
        while True:
            page = self.call("GET", path, params={"limit": PAGE, "offset": offset, **query})
            yield from page[key]
            offset += PAGE
            if offset >= page["total"]:
                return


def _detail(response: httpx.Response) -> str:
    """Return why a request was refused: by the API, or by a proxy before it."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.reason_phrase} {response.text[:200]}".strip()
