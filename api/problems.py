"""Errors as RFC 9457 problems: the one place where what went wrong becomes HTTP."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Annotated, Any

from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from msgspec import Meta
from sqlalchemy.exc import SQLAlchemyError

from bus.errors import LogError, TooLarge
from schemas.base import Value

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    412: "Precondition failed",
    413: "Too large",
    422: "Invalid field",
    500: "Internal error",
    503: "Temporarily unavailable",
}
# a command's refusal; the executor's reasons for not running a flow are conflicts
STATUS_OF: dict[str, int] = {"not_found": 404, "conflict": 409, "in_use": 409, "version": 412, "invalid": 422}


class FieldError(Value, frozen=True, kw_only=True):
    """A field at fault, e.g. `disks[0].path`, and what is wrong with it."""

    field: Annotated[str, Meta(examples=["cron_expression"])]
    message: Annotated[str, Meta(examples=["'0 0 31 2 *' is not a cron expression that ever matches"])]


class Problem(Value, frozen=True, kw_only=True):
    """What went wrong, for a program (`type`, `status`) and for a person (`title`, `detail`)."""

    type: Annotated[str, Meta(examples=["urn:problem:invalid-field"])]
    title: Annotated[str, Meta(examples=["Invalid field"])]
    status: Annotated[int, Meta(examples=[422])]
    detail: Annotated[str, Meta(examples=["'0 0 31 2 *' is not a cron expression that ever matches"])]
    errors: list[FieldError] = []


class ApiError(Exception):
    """An answer other than the one hoped for."""

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


def not_found(what: str, id_: str) -> ApiError:
    """Return the 404 for something that is not there."""
    return ApiError(404, f"there is no {what} {id_!r}")


def answer(error: ApiError) -> Response[Problem]:
    """Return an error as a problem."""
    problem = Problem(
        type=f"urn:problem:{TITLES.get(error.status, 'error').lower().replace(' ', '-')}",
        title=TITLES.get(error.status, "Error"),
        status=error.status,
        detail=error.detail,
        errors=error.errors,
    )
    return Response(problem, status_code=error.status, media_type=PROBLEM, headers=error.headers)


def handle_api_error(_: Request[Any, Any, Any], error: ApiError) -> Response[Problem]:
    return answer(error)


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
        return answer(ApiError(413, str(error)))
    log.warning("%s", error, extra={"action": "log_unavailable"})
    return answer(ApiError(503, f"the log is not available: {error}", headers={"Retry-After": "2"}))


def handle_database_error(_: Request[Any, Any, Any], error: SQLAlchemyError) -> Response[Problem]:
    log.error("%s", error, extra={"action": "database_error"})
    return answer(ApiError(503, "the read model is not available", headers={"Retry-After": "2"}))


def handle_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    headers = {key: str(value) for key, value in (error.headers or {}).items()}
    if isinstance(error, ValidationException):
        errors = [field_error(item) for item in error.extra or [] if isinstance(item, dict)]
        status = (
            422 if any(item.get("source") == "body" for item in error.extra or [] if isinstance(item, dict)) else 400
        )
        detail = "; ".join(f"{item.field}: {item.message}" for item in errors) or error.detail
        return answer(ApiError(status, detail, errors=errors, headers=headers))
    if error.status_code == 404:
        return answer(ApiError(404, f"there is nothing at {request.url.path}", headers=headers))
    return answer(ApiError(error.status_code, error.detail, headers=headers))


def handle_bug(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error, extra={"action": "api_bug"})
    return answer(ApiError(500, "an error in the engine; its log has the details"))


_NAMED_FIELD = re.compile(r"(?:unknown|required) field `([^`]+)`")


def field_error(item: Mapping[str, Any]) -> FieldError:
    """Return the field that msgspec's message names; unknown and missing ones stand in its text."""
    key, message = str(item.get("key", "")), str(item.get("message", ""))
    key = "" if key == "data" else key
    if named := _NAMED_FIELD.search(message):
        key = f"{key}.{named[1]}" if key else named[1]
        message = "this field is unknown" if "unknown" in message else "this field is required"
    elif message == "'data'":
        key, message = "body", "a JSON object is required"
    return FieldError(field=key or "body", message=message)


ERRORS = {
    status: ResponseSpec(Problem, description=title, media_type=PROBLEM, generate_examples=False)  # type: ignore[arg-type]
    for status, title in TITLES.items()
}


def errors(*statuses: int) -> dict[int, ResponseSpec]:
    """Return what OpenAPI says of these errors."""
    return {status: ERRORS[status] for status in statuses}
