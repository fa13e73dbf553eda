"""Errors as RFC 9457 problems: the one place where what went wrong becomes HTTP."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Annotated, Any, cast

import msgspec
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from msgspec import Meta, structs
from sqlalchemy.exc import SQLAlchemyError

from api.readmodel.reader import TooMuch
from api.refusals import REPORTED, Refusals
from api.validation import FieldError, allowed_values
from bus.errors import LogError, TooLarge
from schemas.base import Value

log = logging.getLogger(__name__)

MOST_ERRORS = 100  # fields that one problem names
MOST_SAID = 200  # characters of a field's name, which somebody else chose, that are repeated
PROBLEM = "application/problem+json"
TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Conflict",
    412: "Precondition failed",
    413: "Too large",
    422: "Invalid field",
    429: "Too many",
    500: "Internal error",
    503: "Temporarily unavailable",
}
# a command's refusal; the executor's reasons for not running a flow are conflicts
STATUS_OF: dict[str, int] = {"not_found": 404, "conflict": 409, "in_use": 409, "version": 412, "invalid": 422}


class Problem(Value, frozen=True, kw_only=True):
    """What went wrong, for a program (`type`, `status`) and for a person (`title`, `detail`).

    `error`: the same as `detail`, where existing clients look for it.
    """

    type: Annotated[str, Meta(examples=["urn:problem:invalid-field"])]
    title: Annotated[str, Meta(examples=["Invalid field"])]
    status: Annotated[int, Meta(examples=[422])]
    detail: Annotated[str, Meta(examples=["'0 0 31 2 *' is not a cron expression that ever matches"])]
    error: Annotated[str, Meta(examples=["'0 0 31 2 *' is not a cron expression that ever matches"])]
    errors: list[FieldError] = []


class ApiError(Exception):
    """A request that is not done, with the HTTP status that says why."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: list[FieldError] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or []
        self.headers = dict(headers or {})


class Pending(Exception):
    """A command is on the log and has no outcome yet, or one that cannot be shown yet: 202, with its address."""

    def __init__(self, command_id: str) -> None:
        super().__init__(command_id)
        self.command_id = command_id


class Accepted(Value, frozen=True, kw_only=True):
    """The command is safe on the log. Its outcome will be at `/api/v1/commands/{command_id}`."""

    command_id: str
    status: str
    message: str


def address(command_id: str) -> str:
    """Return where a command and its outcome are."""
    return f"/api/v1/commands/{command_id}"


def stopping(command_id: str | None) -> ApiError:
    """Return the 503 of a process that is to end. `command_id`: the command that the log already has."""
    if command_id is None:
        return ApiError(503, "this API process is stopping: ask again", headers={"Retry-After": "2"})
    where = address(command_id)
    detail = (
        f"this API process is stopping. The command is on the log, and its outcome will be at {where}: ask there. "
        "Sending the request again is safe with its Idempotency-Key, and without one asks for the same once more"
    )
    return ApiError(503, detail, headers={"Retry-After": "2", "Location": where})


def invalid(status: int, errors: Iterable[FieldError]) -> ApiError:
    """Return the error that names these fields, at most `MOST_ERRORS` of them."""
    named = [structs.replace(one, field=shortened(one.field)) for one in islice(errors, MOST_ERRORS)]
    return ApiError(status, "; ".join(f"{one.field}: {one.message}" for one in named), errors=named)


def shortened(text: str) -> str:
    """Return a text that somebody else chose, to be repeated to them: long enough to be recognized."""
    return text if len(text) <= MOST_SAID else f"{text[:MOST_SAID]}…"


def not_found(what: str, id_: str) -> ApiError:
    """Return the 404 for something that is not there."""
    return ApiError(404, f"there is no {what} {shortened(id_)!r}")


def too_many(reason: str, seconds: float) -> ApiError:
    """Return the 429 for what is done too often. `seconds`: until it may be done again."""
    later = max(1, math.ceil(seconds))
    return ApiError(429, f"{reason}: try again in {later} s", headers={"Retry-After": str(later)})


def unknown(kind: str, text: str) -> str:
    """Return what is said of a reference that leads to nothing."""
    return f"there is no {kind} with the id or name {shortened(text)!r}"


def problem_of(error: ApiError) -> Problem:
    """Return an error as a problem."""
    title = TITLES.get(error.status, "Error")
    return Problem(
        type=f"urn:problem:{title.lower().replace(' ', '-')}",
        title=title,
        status=error.status,
        detail=error.detail,
        error=error.detail,
        errors=error.errors,
    )


def response_of(error: ApiError) -> Response[Problem]:
    """Return an error as a response."""
    return Response(problem_of(error), status_code=error.status, media_type=PROBLEM, headers=error.headers)


def encoded(error: ApiError) -> tuple[dict[str, str], bytes]:
    """Return an error as headers and a body, for where there is no framework: its connection ends with it."""
    body = msgspec.json.encode(problem_of(error))
    about = {"content-type": PROBLEM, "content-length": str(len(body)), "connection": "close"}
    return {**about, **{name.lower(): value for name, value in error.headers.items()}}, body


def handle_api_error(request: Request[Any, Any, Any], error: ApiError) -> Response[Problem]:
    if error.status in REPORTED:
        refusals: Refusals = request.app.state.refusals
        host = request.client.host if request.client else None
        route = f"{request.method} {request.scope.get('path_template', '')}"
        refusals.report(host, status=error.status, route=route, reason=error.detail)
    return response_of(error)


def handle_pending(_: Request[Any, Any, Any], pending: Pending) -> Response[Accepted]:
    body = Accepted(
        command_id=pending.command_id,
        status="pending",
        message="the command is on the log; its outcome is not known yet and will be at its address",
    )
    headers = {"Location": address(pending.command_id)}
    return Response(body, status_code=202, media_type=MediaType.JSON, headers=headers)


def handle_log_error(_: Request[Any, Any, Any], error: LogError) -> Response[Problem]:
    if isinstance(error, TooLarge):
        return response_of(ApiError(413, str(error)))
    log.warning("%s", error, extra={"action": "log_unavailable"})
    return response_of(ApiError(503, f"the log is not available: {error}", headers={"Retry-After": "2"}))


def handle_database_error(_: Request[Any, Any, Any], error: SQLAlchemyError) -> Response[Problem]:
    log.error("%s", error, extra={"action": "database_error"})
    return response_of(ApiError(503, "the read model is not available", headers={"Retry-After": "2"}))


def handle_too_much(_: Request[Any, Any, Any], error: TooMuch) -> Response[Problem]:
    return response_of(ApiError(422, str(error)))


def handle_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    headers = {key: str(value) for key, value in (error.headers or {}).items()}
    if isinstance(error, ValidationException):
        return response_of(_validation_error(request, error))
    if error.status_code == 404:
        where = shortened(request.scope["path"])
        return response_of(ApiError(404, f"there is nothing at {where}", headers=headers))
    return handle_api_error(request, ApiError(error.status_code, error.detail, headers=headers))


def _validation_error(request: Request[Any, Any, Any], error: ValidationException) -> ApiError:
    """Return what the framework found wrong in parameters, each under the name that it has in a request."""
    fields = request.route_handler.parsed_fn_signature.parameters
    found: list[FieldError] = []
    for one in cast("list[dict[str, str]]", error.extra or []):
        key, message = one.get("key", ""), one["message"]
        if key == "data":
            return invalid(422, [FieldError(field="body", message="a JSON object is required")])
        if field := fields.get(key):
            key = getattr(field.kwarg_definition, "name", None) or key
            allowed = allowed_values(field.annotation)
            message = f"it must be one of {', '.join(allowed)}" if allowed else message
        found.append(FieldError(field=key, message=message))
    return invalid(400, found) if found else ApiError(400, error.detail)


def handle_bug(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    log.error("%s %s failed", request.method, request.scope["path"], exc_info=error, extra={"action": "api_bug"})
    return response_of(ApiError(500, "an error in the engine; its log has the details"))


ERRORS = {
    status: ResponseSpec(Problem, description=title, media_type=PROBLEM, generate_examples=False)  # type: ignore[arg-type]
    for status, title in TITLES.items()
}


def errors(*statuses: int) -> dict[int, ResponseSpec]:
    """Return what OpenAPI says of these errors."""
    return {status: ERRORS[status] for status in statuses}


HANDLERS: dict[int | type[Exception], Any] = {
    ApiError: handle_api_error,
    Pending: handle_pending,
    LogError: handle_log_error,
    SQLAlchemyError: handle_database_error,
    TooMuch: handle_too_much,
    HTTPException: handle_http_exception,
    Exception: handle_bug,
}
"""Which of the above answers for which error."""
