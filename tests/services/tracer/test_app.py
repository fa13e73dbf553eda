"""The tracer against a real log and a real receiver: what arrives is what the log says, once, also after troubles."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from litestar import Litestar, Request, Response, post
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

from bus.envelope import Stored
from bus.log import Log
from services.tracer import app as tracer
from services.tracer.app import Tracer
from services.tracer.domain import State, evolve
from services.tracer.otlp import exporter
from tests.histories.files import FOLDER, load
from tests.served import served
from tests.services.conftest import Engine
from tests.support import eventually


class Receiver:
    """What takes spans by OTLP over HTTP; it refuses while it is `down`."""

    def __init__(self) -> None:
        self.down = False
        self.refused = 0
        self.spans: list[tuple[str, Sent]] = []  # with the service that did it

    def app(self) -> Litestar:
        @post("/v1/traces")
        async def traces(request: Request) -> Response[bytes]:  # type: ignore[type-arg]
            if self.down:
                self.refused += 1
                return Response(b"", status_code=400)
            body = await request.body()
            if request.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {one.key: one.value.string_value for one in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self.spans += [(names["service.name"], span) for span in scope.spans]
            return Response(b"", status_code=200, media_type="application/x-protobuf")

        return Litestar([traces], logging_config=None)


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with served(receiver.app()) as port:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setattr(tracer, "SAVE_EVERY", 0.0)
        monkeypatch.setattr(tracer, "PAUSES", (0.05,))
        yield receiver


async def replay(log: Log, file: Path) -> list[Stored]:
    entries = load(file)
    for entry in entries:
        await log.append([entry.envelope], expect={})
    return entries


@asynccontextmanager
async def tracing(engine: Engine) -> AsyncIterator[Tracer]:
    one = Tracer(exporter())
    async with engine.running(one):
        yield one


async def test_spans_arrive_once_though_the_receiver_was_down_and_the_tracer_restarted(
    engine: Engine, receiver: Receiver
) -> None:
    receiver.down = True
    entries = await replay(engine.log, FOLDER / "scheduled.jsonl")
    state = State()
    expected = {span.span_id: span for entry in entries for span in evolve(state, entry)}
    last = entries[-1].sequence

    async def saved() -> bool:
        return (await engine.log.checkpoint(tracer.EXPORTED)).position >= last

    async with tracing(engine):
        await eventually(lambda: receiver.refused >= 2)
        receiver.down = False
        await eventually(lambda: len(receiver.spans) >= len(expected))
        await eventually(saved)  # one that ends before that sends once more
    async with tracing(engine) as again:
        await eventually(lambda: again.position >= last)
    found = {span.span_id.hex(): (service, span) for service, span in receiver.spans}
    assert len(receiver.spans) == len(expected)
    assert found.keys() == expected.keys()
    for id_, (service, span) in found.items():
        wanted = expected[id_]
        assert (span.trace_id.hex(), span.name, service) == (wanted.trace_id, wanted.name, wanted.service)
        assert span.parent_span_id.hex() == (wanted.parent_id or "")
        assert abs(span.start_time_unix_nano - wanted.start.timestamp() * 1e9) < 1e4
    services = {service for service, _ in receiver.spans}
    assert {"scheduler", "executor"} <= services
