"""What people send, decoded strictly: bodies and query parameters. All that is wrong is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from litestar.connection import ASGIConnection
from litestar.datastructures import Headers
from litestar.dto import AbstractDTO
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Reference, Schema
from litestar.params import QueryParameter
from litestar.types import Scope
from litestar.typing import FieldDefinition

from api.accepted import in_our_words
from api.problems import ApiError, invalid
from api.requests import SignInRequest
from api.validation import NO_NUL, FieldError, errors_in, unfit_in
from schemas import secrets

MOST_IN_QUERY = 8_192  # bytes
MOST_IN_PARAMETER = 1_024  # characters
FOREIGN_QUERY = "foreign_query"  # the option of a route whose address another program makes: it may say what it likes
MOST_IN_PATH = 255  # characters of one part: a file's name is not longer
NO_UTF8 = "it is not UTF-8"


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
    if isinstance(value, dict):
        value = in_our_words(value, shape)
    try:
        decoded = msgspec.convert(value, shape)
    except msgspec.ValidationError:
        shown = () if shape is SignInRequest else _secrets_in(value)
        raise invalid(422, chain(errors_in(value, shape), shown)) from None
    shown = () if isinstance(decoded, SignInRequest) else _secrets_in(decoded)
    if wrong := [*unfit_in(decoded), *shown]:
        raise invalid(422, wrong)
    return decoded


def _secrets_in(value: Any) -> Iterator[FieldError]:
    with suppress(RecursionError):  # nested deeper than any shape, which is wrong already
        for path, advice in secrets.found(value):
            yield FieldError(field=path or "body", message=advice)


async def well_formed(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse, on every route, text that can be nobody's: not UTF-8, with a NUL, too long, or a parameter given twice.

    What comes after may bind any text for SQL, and use it as a file's name. Raises 400 that names it.
    """
    scope = connection.scope
    longest = MOST_IN_QUERY if handler.opt.get(FOREIGN_QUERY) else MOST_IN_PARAMETER
    in_query = _wrong_in_query(scope["query_string"], longest)
    found = [*_wrong_in_path(scope), *in_query, *_wrong_in_host(connection.headers)]
    if found:
        raise invalid(400, found)


def _wrong_in_host(headers: Headers) -> Iterator[FieldError]:
    try:
        _ = urlsplit(f"//{headers.get('host', '')}").port  # the framework's messages hold the whole address
    except ValueError as error:
        yield FieldError(field="Host", message=f"this is no host: {error}")


def _wrong_in_path(scope: Scope) -> Iterator[FieldError]:
    raw = scope.get("raw_path") or b""
    if not _is_text(unquote(raw.decode("latin-1"), errors="surrogateescape")):
        yield FieldError(field="path", message=NO_UTF8)
        return
    names = {str(value): name for name, value in scope["path_params"].items()}
    for part in scope["path"].split("/"):
        if "\0" in part:
            yield FieldError(field=names.get(part, "path"), message=NO_NUL)
        elif len(part) > MOST_IN_PATH:
            message = f"no part of a path is longer than {MOST_IN_PATH} characters"
            yield FieldError(field=names.get(part, "path"), message=message)


def _wrong_in_query(raw: bytes, longest: int) -> Iterator[FieldError]:
    if len(raw) > MOST_IN_QUERY:
        yield FieldError(field="query", message=f"it is longer than {MOST_IN_QUERY} bytes")
        return
    pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, errors="surrogateescape")
    for name, times in Counter(name for name, _ in pairs).items():
        if not _is_text(name):
            yield FieldError(field="query", message=f"the name of a parameter: {NO_UTF8}")
        elif times > 1:
            yield FieldError(field=name, message=f"this query parameter is given {times} times; once is enough")
    for name, value in pairs:
        if not _is_text(value):
            yield FieldError(field=_printable(name), message=NO_UTF8)
        elif "\0" in value:
            yield FieldError(field=_printable(name), message=NO_NUL)
        elif len(value) > longest:
            yield FieldError(field=_printable(name), message=f"it is longer than {longest} characters")


def _is_text(text: str) -> bool:
    """Tell whether a text was UTF-8; what was not has become surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


async def known_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse query parameters that the route does not know: a misspelt filter filters nothing. Raises 400."""
    if handler.opt.get(FOREIGN_QUERY):
        return
    fields = handler.parsed_fn_signature.parameters
    kinds = {name: field.kwarg_definition for name, field in fields.items()}
    known = {kind.name or name for name, kind in kinds.items() if isinstance(kind, QueryParameter)}
    unknown = sorted(set(connection.query_params) - known)
    if unknown:
        all_known = f"known are {', '.join(sorted(known))}" if known else "this route knows none"
        message = f"this query parameter is unknown; {all_known}"
        raise invalid(400, (FieldError(field=name, message=message) for name in unknown))
