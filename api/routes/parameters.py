"""Parameters that many routes share."""

from __future__ import annotations

from typing import Annotated, TypeVar

from litestar import Response
from litestar.params import FromPath, FromQuery, QueryParameter

from api.problems import ApiError, errors
from api.readmodel.reading import Page
from schemas.base import Value

Limit = FromQuery[Annotated[int, QueryParameter(ge=1, le=500, description="how many at most")]]
Offset = FromQuery[Annotated[int, QueryParameter(ge=0, le=2**62, description="how many to pass over")]]
Enabled = FromQuery[bool | None]
Q = FromQuery[Annotated[str | None, QueryParameter(max_length=255, description="a part of the name")]]
Sort = FromQuery[
    Annotated[str | None, QueryParameter(max_length=64, description="a column; `-` before it: descending")]
]
PathId = FromPath[str]

T = TypeVar("T", bound=Value)

READ = errors(400, 401, 404, 503)
WRITE = errors(400, 401, 404, 409, 412, 413, 422, 503)


def page(limit: int, offset: int) -> Page:
    return Page(limit=limit, offset=offset)


def tagged(body: T, version: int, status_code: int = 200, headers: dict[str, str] | None = None) -> Response[T]:
    """Return an answer with its version as `ETag`."""
    return Response(body, status_code=status_code, headers={"ETag": f'"{version}"', **(headers or {})})


def bad_sort(sort: str | None, allowed: tuple[str, ...]) -> ApiError:
    return ApiError(400, f"cannot sort by {sort!r}; one can by {', '.join(allowed)}, with `-` before it for descending")
