"""The desk: one request's way in (a command, its outcome, the tables caught up) and its clock and ids."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
from litestar import Request
from litestar.di import NamedDependency

from api.gateway import Gateway
from api.problems import STATUS_OF, ApiError, FieldError, Pending, field_error
from api.readmodel import audit, definitions
from api.readmodel.reading import Reading
from bus.clock import now
from schemas import secrets
from schemas.base import Value
from schemas.commands import Command
from schemas.events import FlowSkipped, Rejected
from schemas.ids import derived

PATIENCE = 5.0  # seconds to wait for an outcome, and for the tables, before 202
MAX_KEY = 255  # characters of an Idempotency-Key


S = TypeVar("S", bound=Value)


class Desk:
    """What a route needs. One for each request."""

    def __init__(self, gateway: Gateway, reading: Reading, request: Request[Any, Any, Any]) -> None:
        self.reading = reading
        self._gateway = gateway
        self._request = request
        self.actor: str = request.scope.get("user") or "unknown"
        self._keyed = "idempotency-key" in request.headers
        self.command_id = self._command_id()

    @property
    def now(self) -> datetime:
        return now()

    @property
    def if_version(self) -> int | None:
        """The version that `If-Match` names. Raises 412 when it names none of ours."""
        tag = self._request.headers.get("if-match")
        if tag is None or tag.strip() == "*":
            return None
        version = tag.strip().removeprefix("W/").strip('"')
        if not version.isdecimal():
            raise ApiError(412, f'If-Match is {tag!r}; an ETag of this API is a version such as "3"')
        return int(version)

    async def strict(self, data: S) -> S:
        """Return the body read again, strictly: the framework takes 0 for false and "1" for one. Raises 422."""
        try:
            return msgspec.json.decode(await self._request.body(), type=type(data))
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(" - at `$.")
            item = {"key": path.removesuffix("`"), "message": message}
            fault = field_error(item)
            raise ApiError(422, f"{fault.field}: {fault.message}", errors=[fault]) from None

    def new_id(self, kind: str) -> str:
        """Return the id of what this request creates: the same one when it is sent again with its key."""
        return derived(kind, self.command_id)

    async def submit(self, command: Command, *, part: str | None = None) -> str:
        """Append a command and return its id once it was accepted and the tables have it.

        `part` tells apart several commands of one request. Raises `ApiError` when the answer is no, and `Pending` when
        a part is down and the command waits on the log. A request that comes again with its key gets the answer of the
        first one.
        """
        if found := secrets.fault(command):
            path = found[0].partition(".")[2]  # without the command's own field
            raise _refusal("invalid", found[1], path)
        command_id = self.command_id if part is None else derived("command", self.command_id, part)
        if self._keyed and await self._seen(command_id, command):
            return command_id
        outcome = await self._gateway.ask(command, id=command_id, actor=self.actor, patience=PATIENCE)
        if outcome is None:
            raise Pending(command_id)
        there = await self.reading.reached(outcome.sequence, patience=PATIENCE)
        match outcome.answer:
            case Rejected() as no:
                raise _refusal(no.code, no.reason, no.field)
            case FlowSkipped() as no:
                raise _refusal(no.reason, no.message, None)
            case _ if not there:
                raise Pending(command_id)
            case _:
                return command_id

    async def _seen(self, command_id: str, command: Command) -> bool:
        """Tell whether this very command was accepted before. Raises what it was answered with when it was not.

        A key that was used for another request is 422.
        """
        before = await definitions.command(self.reading, command_id)
        if before is None:
            return False
        asked = await audit.request(self.reading, await definitions.sequence_of(self.reading, command_id))
        if asked != msgspec.to_builtins(command):
            raise ApiError(
                422,
                "this Idempotency-Key was used for another request: use a new key for each new request",
                errors=[FieldError(field="Idempotency-Key", message="used for another request")],
            )
        if before.outcome == "rejected":
            raise _refusal(before.code, before.reason or "", before.field)
        return before.outcome == "accepted"

    def _command_id(self) -> str:
        key = self._request.headers.get("idempotency-key")
        if key is None:
            return str(uuid4())
        if not 0 < len(key) <= MAX_KEY:
            raise ApiError(400, f"the Idempotency-Key must have 1 to {MAX_KEY} characters")
        return derived("command", self.actor, self._request.method, self._request.url.path, key)


def _refusal(code: str | None, reason: str, field: str | None) -> ApiError:
    errors = [FieldError(field=field, message=reason)] if field else []
    return ApiError(STATUS_OF.get(code or "", 409), reason, errors=errors)


AtDesk = NamedDependency[Desk]
