"""Requests that are cancelled when the process ends: they too get a problem, not the server's plain 500."""

from __future__ import annotations

import asyncio

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import ApiError, encoded

UNFINISHED = ApiError(
    503,
    "this API process is stopping, and the request was not done in time: send it again. If it changes something, look "
    "at /api/v1/audit first: the command may be on the log",
    headers={"Retry-After": "2"},
)


def respond_when_cancelled(app: ASGIApp) -> ASGIApp:
    """Wrap an application: who waits when its task is cancelled hears 503. What has begun to be sent is broken off."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, noting)
        except asyncio.CancelledError:
            if started or scope["type"] != "http":
                raise
            await _send(send, UNFINISHED)

    return wrapped


async def _send(send: Send, error: ApiError) -> None:
    headers, body = encoded(error)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})
