"""Trace context (W3C): which trace a message belongs to, and its span. Pure.

Both follow from ids that are on the log: what shares a `correlationid` (one execution, one command) is one trace, from
due to the last backup, whoever appends it and however often it is decided. So nothing has to be carried from service to
service, and a trace can be made from the log alone, also years later.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

_FORM = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent(correlation: str, id: str) -> str:  # noqa: A002  the CloudEvents name
    """Return the context of the message `id`, which belongs to `correlation`."""
    return f"00-{trace_id(correlation)}-{span_id(id)}-01"


@lru_cache(maxsize=4096)  # an execution's messages come together
def trace_id(correlation: str) -> str:
    """Return the trace of all that shares a correlation id: 32 hexadecimal digits."""
    return hashlib.blake2b(correlation.encode(), digest_size=16).hexdigest()


def span_id(id: str) -> str:  # noqa: A002
    """Return the span of what has an id: 16 hexadecimal digits."""
    return hashlib.blake2b(id.encode(), digest_size=8).hexdigest()


def parse(text: str | None) -> tuple[str, str] | None:
    """Return trace and span of a `traceparent` that somebody else has sent; None when it is none."""
    if text is None or not _FORM.fullmatch(text):
        return None
    _, trace, span, _ = text.split("-")
    return trace, span
