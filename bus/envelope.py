"""The envelope: every message body is a CloudEvents 1.0 JSON object (structured mode), complete even in a file.

Decoding is total: what cannot be read comes back as a value with the reason, never as an exception.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Union, cast

import msgspec
from msgspec import Meta

from bus import trace
from bus.subjects import LONGEST_ID, TABLE, belongs_on, key_of, subject_of, type_of
from schemas.base import FIRST_YEAR, LAST_YEAR, Instant, Message, Value
from schemas.bounds import beyond_bounds, out_of_bounds, timed_fields
from schemas.commands import CreateSchedule, UpdateSchedule
from schemas.events import ScheduleDefined
from schemas.renamed import has_old_names, renamed_in

_Context = Annotated[str, Meta(max_length=LONGEST_ID)]
_NUL, _BACKSLASH = b"\\u0000", ord("\\")  # as JSON has it, and the one byte of it that is fast to look for


class Envelope(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A message with its context. `id` is deterministic for decisions: the same decision has the same id.

    `causationid` is the id of the message that led to this one; `correlationid` is shared by all that belongs to one
    execution, or to one command; `decidedon` is the log position that a decision was taken on.
    """

    specversion: Literal["1.0"]  # no default, as the two constants must be in every body
    id: _Context
    type: _Context
    source: _Context
    subject: _Context
    time: Instant
    datacontenttype: Literal["application/json"]
    actor: _Context | None = None
    correlationid: _Context | None = None
    causationid: _Context | None = None
    traceparent: _Context | None = None
    decidedon: Annotated[str, Meta(max_length=18)] | None = None
    data: Message


class Stored(Value, frozen=True, kw_only=True):
    """An envelope as the log holds it. `body` is the message's bytes."""

    sequence: int
    subject: str
    stored_at: datetime
    body: bytes
    envelope: Envelope


class Unreadable(Value, frozen=True, kw_only=True):
    """A message of the log that is no envelope of ours. `unknown_type`: well-formed, of a type from newer code."""

    sequence: int
    subject: str
    stored_at: datetime
    body: bytes
    error: str
    unknown_type: str | None = None


Entry = Stored | Unreadable


class _Outer(msgspec.Struct):
    """An envelope whose data is not decoded."""

    specversion: str
    id: str
    type: str
    subject: str
    time: datetime
    data: dict[str, Any]


class _Typed(Envelope, frozen=True, kw_only=True, omit_defaults=True):
    data: Union[tuple(row.message for row in TABLE.values())]  # type: ignore[valid-type]  # noqa: UP007


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Envelope] = msgspec.json.Decoder(_Typed)
_outer = msgspec.json.Decoder(_Outer)
_TIMED = {row.message: timed_fields(row.message) for row in TABLE.values()}  # the fields that may hold datetimes


def envelope(
    message: Message,
    *,
    id: str,  # noqa: A002  the CloudEvents name
    source: str,
    time: datetime,
    actor: str | None = None,
    correlationid: str | None = None,
    causationid: str | None = None,
    decidedon: int | None = None,
    traceparent: str | None = None,
) -> Envelope:
    """Return a message in its envelope; type and subject follow from the message. `time` must know its time zone.

    `traceparent`: of a request from outside; else it follows from what the message belongs to.
    """
    if traceparent is None and correlationid is not None:
        traceparent = trace.traceparent(correlationid, id)
    return Envelope(
        specversion="1.0",
        datacontenttype="application/json",
        id=id,
        type=type_of(message),
        source=source,
        subject=key_of(message),
        time=time,
        actor=actor,
        correlationid=correlationid,
        causationid=causationid,
        traceparent=traceparent,
        decidedon=None if decidedon is None else str(decidedon),
        data=message,
    )


def encode(event: Envelope) -> bytes:
    """Return the message body."""
    return _encoder.encode(event)


def decode(*, sequence: int, subject: str, stored_at: datetime, body: bytes) -> Entry:
    """Return the entry that a body holds; `Unreadable` when it is not an envelope, or its type or subject are wrong."""
    try:
        event = _decoder.decode(body)
        if isinstance(event.data, ScheduleDefined | CreateSchedule | UpdateSchedule) and has_old_names(body):
            event = _upcast(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _unreadable(sequence, subject, stored_at, body, str(error))
    data = event.data
    bounded = FIRST_YEAR <= event.time.year <= LAST_YEAR
    for field in _TIMED[type(data)]:  # of every message: so what is usual passes quickly
        value = getattr(data, field)
        bounded &= type(value) is datetime and FIRST_YEAR <= value.year <= LAST_YEAR
    if (not bounded or (_BACKSLASH in body and _NUL in body)) and (error := _fault(event, body)):
        return _unreadable(sequence, subject, stored_at, body, error)
    if not belongs_on(event.data, subject) or event.type != type_of(event.data):
        error = f"a message of type {event.type!r} about {event.subject!r} does not belong on {subject!r}"
        return _unreadable(sequence, subject, stored_at, body, error)
    return Stored(sequence=sequence, subject=subject, stored_at=stored_at, body=body, envelope=event)


def _fault(event: Envelope, body: bytes) -> str | None:
    """Return what is wrong with a message that decodes, None when nothing is."""
    if (found := out_of_bounds(event.time) or out_of_bounds(event.data)) is not None:
        return beyond_bounds(found)
    if _NUL in body and _has_nul(msgspec.json.decode(body)):
        return "there is a NUL in a text"
    return None


def _has_nul(value: Any) -> bool:
    """Tell whether any text in a JSON value has a NUL in it, which databases refuse."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return any(map(_has_nul, (*fields, *fields.values())))
    if isinstance(value, list):
        return any(map(_has_nul, cast("list[Any]", value)))
    return isinstance(value, str) and "\x00" in value


def fault_of(event: Envelope) -> str | None:
    """Return why a message could not be read if it were on the log, None when it could."""
    read = decode(sequence=0, subject=subject_of(event.data), stored_at=event.time, body=encode(event))
    return read.error if isinstance(read, Unreadable) else None


def _upcast(body: bytes) -> Envelope:
    """Return the envelope of a message that was written with older names of fields."""
    outer: dict[str, Any] = msgspec.json.decode(body)
    return msgspec.convert({**outer, "data": renamed_in(outer["data"])}, _Typed)


def _unreadable(sequence: int, subject: str, stored_at: datetime, body: bytes, error: str) -> Unreadable:
    unknown_type = None
    try:
        outer = _outer.decode(body)
        tag = outer.data.get("type")
        if isinstance(tag, str) and tag not in TABLE:
            unknown_type = outer.type
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    return Unreadable(
        sequence=sequence, subject=subject, stored_at=stored_at, body=body, error=error, unknown_type=unknown_type
    )
