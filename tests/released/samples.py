"""Samples of messages, made from their shapes: with every field, and with those alone that must be there."""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any

import msgspec
from msgspec import inspect

from bus.envelope import Envelope, envelope, fault_of
from schemas.base import Message
from tests.support import T0

TEXTS = ("sample-1", "nightly", "/srv/sample", "22:00", "02:30", "2026-10-09", "0 2 * * *", "UTC", "s", "gold", "1")
TEXTS += (16 * "0af1", "https://example.org/hook", "a@example.org", "08:00")  # the first one is a digest


def full(shape: type[Message]) -> Envelope:
    """Return a message of a shape with all of its fields, in an envelope with all of its own."""
    return _sent(
        shape,
        whole=True,
        actor="sample-actor",
        correlationid="sample-execution",
        causationid="sample-cause",
        decidedon=41,
    )


def least(shape: type[Message]) -> Envelope:
    """Return a message of a shape with what must be there alone."""
    return _sent(shape, whole=False)


def _sent(shape: type[Message], *, whole: bool, **context: Any) -> Envelope:
    data = {**_struct(shape, whole=whole), "type": shape.__struct_config__.tag}
    sent = envelope(msgspec.convert(data, shape), id="sample-id", source="sample", time=T0, **context)
    assert (fault := fault_of(sent)) is None, f"the sample of {shape.__name__} cannot be read: {fault}"
    return sent


def _struct(shape: type[Any], *, whole: bool) -> dict[str, Any]:
    info = inspect.type_info(shape)
    assert isinstance(info, inspect.StructType)
    fields = [field for field in info.fields if (whole or field.required) and field.name != "v"]
    tag = {info.tag_field: info.tag} if info.tag_field else {}
    return {field.encode_name: _value(field.type, whole=whole) for field in fields} | tag


def _value(info: inspect.Type, *, whole: bool) -> Any:
    match info:
        case inspect.Metadata():
            return _value(info.type, whole=whole)
        case inspect.UnionType(types=types):
            something = [one for one in types if not isinstance(one, inspect.NoneType)]
            return _value(something[0], whole=whole) if whole or len(something) == len(types) else None
        case inspect.StructType():
            return _struct(info.cls, whole=whole)
        case inspect.ListType() | inspect.VarTupleType():
            count = max(info.min_length or 0, 1 if whole else 0)
            return [_value(info.item_type, whole=whole) for _ in range(count)]
        case inspect.DictType():
            return {_value(info.key_type, whole=whole): _value(info.value_type, whole=whole)} if whole else {}
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.EnumType():
            return next(iter(info.cls)).value
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return max(info.ge if info.ge is not None and info.ge > -1000 else 7, 3)
        case inspect.FloatType():
            return max(info.ge or 0.0, 0.5)
        case inspect.StrType():
            return _text(info)
        case inspect.DateTimeType():
            return T0.replace(tzinfo=None if info.tz is False else UTC).isoformat()
        case inspect.DateType():
            return T0.date().isoformat()
        case inspect.TimeType():
            return T0.time().isoformat()
        case inspect.AnyType():
            return {"sample": [1, "two", None]}
        case _:
            raise TypeError(f"no sample is known of {info}: add it here")


def _text(info: inspect.StrType) -> str:
    shortest, longest = info.min_length or 0, info.max_length or 1024
    for text in TEXTS:
        if shortest <= len(text) <= longest and (info.pattern is None or re.search(info.pattern, text)):
            return text
    raise TypeError(f"no text of `TEXTS` fits {info}: add one")
