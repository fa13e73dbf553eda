"""The request context: one request's way in (a command, its outcome, the tables caught up) and its clock and ids."""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import uuid4

from litestar import Request
from litestar.di import NamedDependency

from api import permission
from api.commands import KeyReused
from api.identity import Identity
from api.problems import STATUS_OF, ApiError, Pending, address, stopping
from api.readmodel import audit, executions
from api.readmodel.reader import Reader
from api.resources import Resources
from api.responses.executions import ExecutionResponse
from api.tail import CommandOutcome
from api.validation import FieldError
from bus import trace
from bus.clock import now
from bus.errors import Unknown
from schemas.commands import Command
from schemas.ids import derived

PATIENCE = 5.0  # seconds to wait for an outcome, and for the tables, before 202
MAX_KEY = 255  # characters of an Idempotency-Key
MAX_DIGITS = 18  # of a version


class RequestContext:
    """What a route needs. One for each request."""

    def __init__(self, resources: Resources, request: Request[Any, Any, Any]) -> None:
        self._tables = resources.reader
        self.log = resources.log
        self.files = resources.files
        self.own = resources.own
        self.overdue = resources.overdue
        self._commands = resources.commands
        self._request = request
        self.identity: Identity = request.scope["user"]
        self.actor = self.identity.actor
        self._keyed = "idempotency-key" in request.headers
        self.command_id = self._command_id()

    @cached_property
    def reader(self) -> Reader:
        """What the one who asks may read: nothing else reaches a route."""
        return self._tables.seen_by(self.identity)

    @property
    def now(self) -> datetime:
        return now()

    @property
    def scoped(self) -> bool:
        """Whether who asks may not see everything."""
        return self.identity.groups is not None

    @property
    def _traceparent(self) -> str | None:
        """The request's own trace context, if it has one that is."""
        text = self._request.headers.get("traceparent")
        return text if trace.parse(text) else None

    @property
    def if_version(self) -> int | None:
        """The version that `If-Match` names. Raises 412 when it names none of ours."""
        tag = self._request.headers.get("if-match")
        if tag is None or tag.strip() == "*":
            return None
        version = tag.strip().removeprefix("W/").strip('"')
        if not version.isdecimal() or len(version) > MAX_DIGITS:
            raise ApiError(412, f'If-Match is {tag!r}; an ETag of this API is a version such as "3"')
        return int(version)

    def new_id(self, kind: str) -> str:
        """Return the id of what this request creates: the same one when it is sent again with its key."""
        return derived(kind, self.command_id)

    async def submit(self, command: Command, *, part: str | None = None) -> str:
        """Append a command and return its id once it was accepted and the tables have it.

        `part` tells apart several commands of one request. Raises `ApiError` when the command is refused, and `Pending`
        when a service is down and the command waits on the log. A request that comes again with its key gets the
        outcome of the first one.
        """
        self.check_open()
        command_id = self._id_of(part)
        if self.scoped and not await self.repeats(part):
            await permission.check(self.reader, command)
        try:
            outcome = await self._commands.submit(
                command,
                id=command_id,
                actor=self.actor,
                keyed=self._keyed,
                patience=PATIENCE,
                traceparent=self._traceparent,
            )
        except KeyReused:
            raise ApiError(
                422,
                "this Idempotency-Key was used for another request: use a new key for each new request",
                errors=[FieldError(field="Idempotency-Key", message="used for another request")],
            ) from None
        except Unknown as error:
            raise Unknown(f"{error}. If the command is on the log, its outcome is at {address(command_id)}") from error
        there = outcome is not None and await self.reached(outcome.sequence)
        if outcome is not None and not outcome.accepted:
            if self.scoped and outcome.code == "in_use":  # by what has come meanwhile: it may be nothing to be named
                await permission.check(self.reader, command)
            raise _refusal(outcome)
        if not there:
            self.check_open(command_id)
            raise Pending(command_id)
        return command_id

    async def reached(self, sequence: int) -> bool:
        """Wait until the tables hold the log up to a sequence; tell whether they do in time."""
        return await self._tables.reached(sequence, patience=PATIENCE)

    async def repeats(self, part: str | None = None) -> bool:
        """Tell whether this request came before, with its key: then what was true at that time counts, not now."""
        return self._keyed and await self._commands.find(self._id_of(part)) is not None

    async def earlier(self) -> Command | None:
        """Return the command of the first request with this key; None when there was none, or the log let go of it."""
        return await self._commands.earlier(self.command_id) if self._keyed else None

    async def from_log(self, command_id: str, flow_id: str, execution_id: str) -> ExecutionResponse:
        """Return the execution that an accepted command started, as the log has it.

        Raises 404 once it forgot; and for one with a scope, who may not see any longer what is not in the tables.
        """
        gone = ApiError(404, f"execution {execution_id!r} was started as requested; its history is no longer kept")
        if self.scoped:
            raise gone
        command = await audit.recorded(self.reader, command_id)
        try:
            async with asyncio.timeout(PATIENCE):
                found = await executions.from_log(self.log, flow_id, execution_id, after=command.sequence or 0)
        except TimeoutError:
            raise Pending(command_id) from None
        if found is None:
            raise gone
        return found

    def check_open(self, command_id: str | None = None) -> None:
        """Raise 503 when the process is to end. `command_id`: a command of this request that is on the log."""
        if self._commands.closed:
            raise stopping(command_id)

    def _id_of(self, part: str | None) -> str:
        return self.command_id if part is None else derived("command", self.command_id, part)

    def _command_id(self) -> str:
        key = self._request.headers.get("idempotency-key")
        if key is None:
            return str(uuid4())
        if not 0 < len(key) <= MAX_KEY:
            raise ApiError(400, f"the Idempotency-Key must have 1 to {MAX_KEY} characters")
        return derived(
            "command", self.identity.token_id or self.actor, self._request.method, self._request.scope["path"], key
        )


def _refusal(outcome: CommandOutcome) -> ApiError:
    errors = [FieldError(field=one.field, message=one.reason) for one in outcome.fields]
    if not errors and outcome.field:
        errors = [FieldError(field=outcome.field, message=outcome.reason)]
    return ApiError(STATUS_OF.get(outcome.code or "", 409), outcome.reason, errors=errors)


Context = NamedDependency[RequestContext]
