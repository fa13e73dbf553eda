"""Webhooks: one signed POST, to the very address that was checked. Redirects are replies, and little of one is read."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from datetime import datetime

import httpx

from schemas.base import Value
from services.notifier import payload, targets
from services.notifier.targets import Allowed

GONE = 410  # the receiver wants no further attempt
MOST = 2048  # bytes of a reply that are read
SHOWN = 200  # characters of it that are shown
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class Failed(Exception):
    """A receiver could not be called, and why."""


class Reply(Value, frozen=True, kw_only=True):
    """What a receiver replied; `text` is the first of the body, printable."""

    status: int
    reason: str
    text: str


async def call(url: str, sent: bytes, delivery_id: str, key: bytes, now: datetime, allowed: Allowed) -> Reply:
    """Call a webhook once. `now` is the time that is signed. Raises `Failed`, and `Refused` for where none may go."""
    target = targets.parse(url)
    address = targets.chosen(target.host, target.scheme, await _addresses(target.host, target.port), allowed)
    timestamp = str(int(now.timestamp()))
    headers = {
        "Host": target.authority,
        "User-Agent": "protection-flows-engine",
        "Content-Type": payload.CONTENT_TYPE,
        "Accept-Encoding": "identity",
        payload.DELIVERY: delivery_id,
        payload.TIMESTAMP: timestamp,
        payload.SIGNATURE: payload.signature(key, timestamp, sent),
    }
    # the address, so that nothing looks the name up again: the certificate is still checked for the name
    host = f"[{address}]" if ":" in address else address
    where = f"{target.scheme}://{host}:{target.port}{target.path}"
    try:
        async with (
            httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=None) as client,  # noqa: S113  the caller's
            client.stream(
                "POST", where, content=sent, headers=headers, extensions={"sni_hostname": target.host}
            ) as response,
        ):
            return Reply(
                status=response.status_code, reason=_shown(response.reason_phrase), text=await _beginning(response)
            )
    except httpx.HTTPError as error:
        raise Failed(_reason(error, target)) from None


async def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host, as a connection would find them. Raises `Failed`."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Failed(f"no address of {host} can be found") from None
    return list(dict.fromkeys(str(one[4][0]) for one in found))


async def _beginning(response: httpx.Response) -> str:
    read = b""
    async for part in response.aiter_raw(MOST):
        read += part
        if len(read) >= MOST:
            break
    return _shown(read[:MOST].decode(errors="replace"))


def _shown(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text).strip()[:SHOWN]


def _reason(error: httpx.HTTPError, target: targets.Target) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of {target.host} is not valid: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    match error:
        case httpx.ConnectError():
            return f"{target.host} does not take connections on port {target.port}"
        case httpx.RemoteProtocolError():
            return f"{target.host} did not reply with HTTP"
        case _:
            return f"the connection to {target.host} broke off"
