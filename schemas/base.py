"""What every shape shares: the Struct configuration and the field types with their limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

# `(?!\n)`: in Python `$` also matches before a final newline.
ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$(?!\n)"
PRINTABLE = r"^[^\x00-\x1f\x7f]*$(?!\n)"
PROSE = r"^[^\x00]*$"

Id = Annotated[
    str,
    Meta(
        pattern=ID_PATTERN,
        description="an id: letters, digits, `_` and `-`, at most 64",
        examples=["0b6f2f4e-2d0e-5f3c-9d0a-6f1f0c8d7a11"],
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=PRINTABLE, examples=["nightly"])]
Word = Annotated[str, Meta(max_length=64, pattern=PRINTABLE)]
Prose = Annotated[str, Meta(max_length=4096, pattern=PROSE)]
FilePath = Annotated[str, Meta(min_length=1, max_length=4096, pattern=PRINTABLE, examples=["/srv/backups"])]
LABEL_KEY = r"^[A-Za-z0-9_./-]{1,63}$(?!\n)"
Labels = Annotated[dict[Annotated[str, Meta(pattern=LABEL_KEY)], Word], Meta(max_length=64)]
TimeZone = Annotated[
    str, Meta(min_length=1, max_length=64, description="an IANA time zone", examples=["Europe/Berlin"])
]
Text = Annotated[str, Meta(max_length=65_536)]  # what services and engines write; `brief` makes it fit
Count = Annotated[int, Meta(ge=0, le=2_147_483_647)]
Positive = Annotated[int, Meta(ge=1, le=2_147_483_647)]
LARGEST_INTEGER = 9_223_372_036_854_775_807  # what 64 bits and every database hold
Integer = Annotated[int, Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
Size = Annotated[int, Meta(ge=0, le=LARGEST_INTEGER, description="bytes, or a position on the log")]

# Every instant knows its zone, and lies in these years (see `schemas/bounds.py`): so it can be converted to any zone,
# and no sum of it and an interval overflows.
FIRST_YEAR, LAST_YEAR = 1970, 2199
LAST_INSTANT = datetime(LAST_YEAR, 12, 31, tzinfo=UTC)
Instant = Annotated[datetime, Meta(tz=True)]
MOST = 100_000  # items of a list in one message
Priority = Annotated[int, Meta(ge=-1000, le=1000, description="higher goes first")]


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable value. Decoding ignores unknown fields: old code reads what newer code wrote."""


class Message(Value, frozen=True, kw_only=True, tag_field="type"):
    """The `data` of one message on the log. Its tag is the message's type; `v` is the version of its shape."""

    v: Integer = 1


def tag_of(message: Message | type[Message]) -> str:
    """Return the type of a message, e.g. `flow.due`."""
    tag = message.__struct_config__.tag
    assert isinstance(tag, str), f"{message!r} has no tag"
    return tag


def brief(text: str) -> str:
    """Return a text that fits into a message: a long one without its end, and none with a NUL."""
    longest = 60_000
    shown = text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"
    return shown.replace("\x00", "?")


def after(at: datetime, interval: timedelta) -> datetime:
    """Return the instant that is an interval later, or the last one there is."""
    return at + interval if interval < LAST_INSTANT - at else max(at, LAST_INSTANT)
