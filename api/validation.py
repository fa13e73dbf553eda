"""Where a value is not as its shape says: every field that is wrong, where `msgspec` stops at the first. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta, UnsetType

from schemas.base import FIRST_YEAR, LAST_YEAR, Value
from schemas.bounds import beyond_bounds

NO_NUL = "a text must not contain a NUL character"
_WITHOUT_NUL = r"[^\\x00]"  # as an error shows the pattern of texts


class FieldError(Value, frozen=True, kw_only=True):
    """A field that is wrong, e.g. `disks[0].path`, and how."""

    field: Annotated[str, Meta(examples=["cron_expression"])]
    message: Annotated[str, Meta(examples=["'0 0 31 2 *' is not a cron expression that ever matches"])]


def errors_in(value: Any, shape: Any, path: str = "") -> Iterator[FieldError]:
    """Yield each field of a JSON value that is not as its shape says; none when all are."""
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        inner = _fields_of(value, shape, path)
        if inner is None:
            yield FieldError(field=path or "body", message=_message(shape, error))
        else:
            yield from inner


def allowed_values(shape: Any) -> list[str]:
    """Return the values that an enumeration allows; none for any other type."""
    base, _ = _bare(shape)
    if get_origin(base) is Literal:
        return [str(one) for one in get_args(base)]
    if get_origin(base) in {Union, UnionType}:
        return [text for one in get_args(base) for text in allowed_values(one)]
    return []


def unfit_in(value: Any, path: str = "") -> Iterator[FieldError]:
    """Yield each field of a decoded value, whatever its shape, that the log or the tables could not take."""
    match value:
        case msgspec.Struct():
            for field in msgspec.structs.fields(value):
                yield from unfit_in(getattr(value, field.name), _join(path, field.encode_name))
        case dict():
            for key, inner in value.items():
                yield from unfit_in(key, _join(path, key))
                yield from unfit_in(inner, _join(path, key))
        case list():
            for number, inner in enumerate(value):
                yield from unfit_in(inner, f"{path}[{number}]")
        case str() if "\0" in value:
            yield FieldError(field=path, message=NO_NUL)
        case date() if not FIRST_YEAR <= value.year <= LAST_YEAR:
            yield FieldError(field=path, message=beyond_bounds(value))
        case _:
            pass


def _fields_of(value: Any, shape: Any, path: str) -> Iterator[FieldError] | None:
    """Return the errors within a value, None when it is wrong itself: of another type, or too long."""
    base, limits = _bare(shape)
    origin = get_origin(base)
    if isinstance(value, dict) and isinstance(base, type) and issubclass(base, msgspec.Struct):
        return _errors_in_object(value, base, path)
    if isinstance(value, list) and origin is list and _fits(value, list, limits):
        (item,) = get_args(base)
        return (one for number, inner in enumerate(value) for one in errors_in(inner, item, f"{path}[{number}]"))
    if isinstance(value, dict) and origin is dict and _fits(value, dict, limits):
        return _errors_in_mapping(value, base, path)
    return None


def _errors_in_object(value: dict[str, Any], shape: type[msgspec.Struct], path: str) -> Iterator[FieldError]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    for name in value:
        if name not in fields and shape.__struct_config__.forbid_unknown_fields:
            yield FieldError(field=_join(path, name), message="this field is unknown")
    for name, field in fields.items():
        if name in value:
            yield from errors_in(value[name], field.type, _join(path, name))
        elif field.required:
            yield FieldError(field=_join(path, name), message="this field is required")


def _errors_in_mapping(value: dict[str, Any], shape: Any, path: str) -> Iterator[FieldError]:
    of_key, of_value = get_args(shape)
    for key, inner in value.items():
        yield from errors_in(key, of_key, _join(path, key))
        yield from errors_in(inner, of_value, _join(path, key))


def _bare(shape: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type without what may be absent or null, and its limits."""
    if get_origin(shape) is Annotated:
        base, *limits = get_args(shape)
        return base, tuple(limits)
    if get_origin(shape) in {Union, UnionType}:
        present = [one for one in get_args(shape) if one not in {NoneType, UnsetType}]
        if len(present) == 1:
            return _bare(present[0])
    return shape, ()


def _fits(value: Any, type_: type[Any], limits: tuple[Any, ...]) -> bool:
    try:
        msgspec.convert(value, Annotated[(type_, *limits)] if limits else type_)
    except msgspec.ValidationError:
        return False
    return True


def _message(shape: Any, error: msgspec.ValidationError) -> str:
    if allowed := allowed_values(shape):
        return f"it must be one of {', '.join(allowed)}"
    message = str(error).partition(" - at `")[0]
    return NO_NUL if _WITHOUT_NUL in message else message


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
