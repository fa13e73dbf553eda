"""Parameters that many routes share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

from litestar import Response
from litestar.params import FromPath, FromQuery, QueryParameter

from api.problems import ApiError, errors
from api.readmodel.reader import Page
from api.validation import FieldError
from schemas.base import Value
from schemas.bounds import beyond_bounds, out_of_bounds

Limit = FromQuery[Annotated[int, QueryParameter(ge=1, le=500, description="how many at most")]]
Offset = FromQuery[Annotated[int, QueryParameter(ge=0, le=2_147_483_647, description="how many to pass over")]]
Enabled = FromQuery[bool | None]
Q = FromQuery[Annotated[str | None, QueryParameter(max_length=255, description="a part of the name")]]
Label = FromQuery[
    Annotated[
        str | None,
        QueryParameter(max_length=128, pattern="^[A-Za-z0-9_./-]{1,63}:", description="a label, `key:value`"),
    ]
]
DefinitionColumn = Literal["name", "-name", "created_at", "-created_at", "updated_at", "-updated_at"]
Sort = FromQuery[Annotated[DefinitionColumn | None, QueryParameter(description="a column; `-` before it: descending")]]
PathId = FromPath[str]
_TIME = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)?$"
Since = FromQuery[
    Annotated[str | None, QueryParameter(name="from", pattern=_TIME, description="RFC 3339, at or after")]
]
Until = FromQuery[Annotated[str | None, QueryParameter(name="to", pattern=_TIME, description="RFC 3339, before")]]
Timezone = FromQuery[Annotated[str, QueryParameter(max_length=64, description="an IANA time zone: whose days")]]
Days = FromQuery[Annotated[int, QueryParameter(name="days", ge=1, le=400, description="how many days, up to today")]]
At = FromQuery[Annotated[str | None, QueryParameter(pattern=_TIME, description="RFC 3339, an instant")]]

T = TypeVar("T", bound=Value)

READ = errors(400, 401, 403, 404, 422, 429, 503)
WRITE = errors(400, 401, 403, 404, 409, 412, 413, 422, 429, 503)


def page(limit: int, offset: int) -> Page:
    return Page(limit=limit, offset=offset)


def tagged(body: T, version: int, status_code: int = 200, headers: dict[str, str] | None = None) -> Response[T]:
    """Return a response with its version as `ETag`."""
    return Response(body, status_code=status_code, headers={"ETag": f'"{version}"', **(headers or {})})


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its name. Raises 422."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        wrong = [FieldError(field="timezone", message="no IANA time zone")]
        raise ApiError(422, f"{name!r} is no IANA time zone", errors=wrong) from None


def moment(name: str, text: str | None, *, bounded: bool = False) -> datetime | None:
    """Return the instant that a parameter names; without a zone it is UTC. Raises 422.

    `bounded`: it is one to reckon with, so its year has bounds; what a list is filtered by needs none.
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.upper())
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        message = f"{text!r} is no date and time"
        raise ApiError(422, message, errors=[FieldError(field=name, message=message)]) from None
    if bounded and out_of_bounds(at) is not None:
        raise ApiError(422, beyond_bounds(at), errors=[FieldError(field=name, message=beyond_bounds(at))])
    return at
