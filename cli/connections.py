"""HTTP connections that cannot be held for nothing: uvicorn's protocol with time-outs and limits (docs/adr/0017).

A request's head and body must get on, and so must the client's reading of the response. How many: `cli.limits`.
"""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from api.headers import HEADERS
from api.problems import ApiError, encoded
from api.refusals import Refusals, address_of
from cli.limits import ConnectionLimiter

HEAD_SECONDS = 10.0  # from the connection to the end of a request's head
IDLE_SECONDS = 5  # that a connection may wait for a further request
BODY_SECONDS = 20.0  # for a body, and one more for each `BODY_PACE` bytes of it
BODY_PACE = 4_096
READ_SECONDS = 30.0  # in which a client must have read `READ_BYTES` of a response that waits for it
READ_BYTES = 65_536
UNSENT_BYTES = 131_072  # that the kernel keeps of a response
PIECE = 8_192  # bytes that are parsed at a time until a head has ended: the parser refuses one of more than three


class Connection(H11Protocol):
    """One connection. `check` must be called every second or so."""

    def __init__(self, limiter: ConnectionLimiter[Connection], refusals: Refusals, **options: Any) -> None:
        super().__init__(**options)
        self._limiter = limiter
        self._refusals = refusals
        self._since = self.loop.time()  # when it began to wait for a head, or when the request began
        self._received = 0  # bytes since then
        self._unread: tuple[float, int] | None = None  # since when its buffer is full, and how full it was
        self._closing_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # the kernel would keep some megabytes for a client that does not read, and nobody would notice
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES)
        host = self.client[0] if self.client else None
        closed = self._limiter.add(self, address_of(host))
        if closed is self:
            reason = "too many connections are open"
            self._refusals.report(host, status=503, route="a connection", reason=reason)
            self._refuse(503, f"{reason}: try again soon", {"Retry-After": "5"})
        elif closed is not None:
            closed.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._limiter.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        piece = PIECE if self._waits_for_head else len(data)
        for start in range(0, len(data), piece):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + piece])

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:  # a request has begun
            self._since, self._received = self.loop.time(), 0
            self._limiter.busy(self)

    def on_response_complete(self) -> None:
        self._since, self._received = self.loop.time(), 0
        self._limiter.idle(self)
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._unread = self.loop.time(), self.transport.get_write_buffer_size()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        del msg
        self._refuse(400, "this is no HTTP that can be read, or its head is too long")

    @property
    def _waits_for_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def check(self) -> None:
        """Close the connection when it takes too long."""
        now = self.loop.time()
        if self.transport.is_closing():  # what was sent last waits to be read
            self._closing_since = self._closing_since or now
            if now - self._closing_since > READ_SECONDS:
                self.transport.abort()
        elif self._unread is not None:
            self._check_reading(now, *self._unread)
        elif self._waits_for_head:
            if now - self._since > HEAD_SECONDS + (IDLE_SECONDS if self.cycle else 0):
                self._end_head()
        elif self.cycle.more_body and not self.flow.read_paused:
            self._check_body(now)

    def _check_reading(self, now: float, since: float, size: int) -> None:
        left = self.transport.get_write_buffer_size()
        if size - left >= READ_BYTES:
            self._unread = now, left
        elif now - since > READ_SECONDS:
            self.transport.abort()

    def _end_head(self) -> None:
        if self._received:
            self._refuse(408, f"the head of a request must come within {HEAD_SECONDS:.0f} s")
        else:
            self.transport.close()

    def _check_body(self, now: float) -> None:
        if now - self._since > BODY_SECONDS + self._received / BODY_PACE:
            slowest = f"within {BODY_SECONDS:.0f} s and one more for each {BODY_PACE} bytes of it"
            self._refuse(408, f"the body of a request must come {slowest}")

    def _refuse(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        """Send a problem, unless a response has begun, and close."""
        cycle = self.cycle
        if cycle is not None:
            cycle.disconnected = True  # the application is not heard any more
        if cycle is None or cycle.response_complete or not cycle.response_started:
            given, body = encoded(ApiError(status, detail, headers=headers))
            lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
            lines += [f"{name}: {value}" for name, value in {**HEADERS, **given}.items()]
            self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()
