"""Sends spans by OTLP over HTTP. Where to, `OTEL_EXPORTER_OTLP_ENDPOINT` and its like say, which the library reads."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from services.tracer.app import Export
from services.tracer.domain import Span

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
NAMESPACE = "flows"


def exporter(timeout: float = 10.0) -> Export:
    """Return what sends spans. `timeout`: seconds for one export, with the library's own tries."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # the tracer says itself what failed
    target = OTLPSpanExporter(timeout=timeout)  # pyright: ignore[reportArgumentType]  it takes seconds

    def export(spans: Sequence[Span]) -> str | None:
        try:
            result = target.export([_readable(span) for span in spans])
        except (OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return None if result is SpanExportResult.SUCCESS else "the receiver did not take them"

    return export


def _readable(span: Span) -> ReadableSpan:
    context = _context(span.trace_id, span.span_id)
    status = Status(StatusCode.OK) if span.error is None else Status(StatusCode.ERROR, span.error)
    return ReadableSpan(
        name=span.name,
        context=context,
        parent=None if span.parent_id is None else _context(span.trace_id, span.parent_id),
        resource=Resource({"service.name": span.service, "service.namespace": NAMESPACE}),
        attributes=dict(span.attributes),
        links=[] if span.link is None else [Link(_context(*span.link))],
        kind=SpanKind.INTERNAL,
        status=status,
        start_time=_nanoseconds(span.start),
        end_time=_nanoseconds(span.end),
    )


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=SAMPLED)


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
