"""What people send, decoded strictly: bodies and query parameters. All that is wrong is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.dto import AbstractDTO
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Reference, Schema
from litestar.params import QueryParameter
from litestar.typing import FieldDefinition

from api.problems import ApiError, invalid
from api.validation import FieldError, errors_in
from schemas import secrets
from schemas.bounds import beyond_bounds, out_of_bounds
from schemas.definitions import SchedulePatch, ScheduleSpec
from schemas.renamed import renamed


class StrictBody(AbstractDTO[Any]):
    """Decodes the body of every route on whose router it is declared; the framework would take "1" for 1."""

    def decode_bytes(self, value: bytes) -> Any:
        field = self.asgi_connection.route_handler.parsed_data_field
        return decode(value, field.annotation)

    @classmethod
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None
    ) -> None:
        """Need no model beside the handler's own: its shape is what is decoded."""

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,  # noqa: ARG003
        schema_creator: Any,
    ) -> Reference | Schema:
        """Describe a body by the handler's own shape."""
        return schema_creator.for_field_definition(field_definition)  # type: ignore[no-any-return]


def decode(body: bytes, shape: Any) -> Any:
    """Return a JSON body in its shape. Raises 400 for what is no JSON, 422 with every field that is wrong in it."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"the body is no JSON that can be read: {error}") from None
    if isinstance(value, dict) and isinstance(shape, type) and issubclass(shape, ScheduleSpec | SchedulePatch):
        value = renamed(value)
    try:
        decoded = msgspec.convert(value, shape)
    except msgspec.ValidationError:
        raise invalid(422, errors_in(value, shape)) from None
    if beyond := list(_times_out_of_bounds(decoded)):
        raise invalid(422, beyond)
    if found := list(secrets.found(decoded)):
        raise invalid(422, (FieldError(field=path, message=advice) for path, advice in found))
    return decoded


def _times_out_of_bounds(decoded: Any) -> Iterator[FieldError]:
    for field in msgspec.structs.fields(decoded) if isinstance(decoded, msgspec.Struct) else ():
        if (found := out_of_bounds(getattr(decoded, field.name))) is not None:
            yield FieldError(field=field.encode_name, message=beyond_bounds(found))


def known_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse query parameters that the route does not know: a misspelt filter filters nothing. Raises 400."""
    fields = handler.parsed_fn_signature.parameters
    kinds = {name: field.kwarg_definition for name, field in fields.items()}
    known = {kind.name or name for name, kind in kinds.items() if isinstance(kind, QueryParameter)}
    unknown = sorted(set(connection.query_params) - known)
    if unknown:
        all_known = f"known are {', '.join(sorted(known))}" if known else "this route knows none"
        message = f"this query parameter is unknown; {all_known}"
        raise invalid(400, (FieldError(field=name, message=message) for name in unknown))
